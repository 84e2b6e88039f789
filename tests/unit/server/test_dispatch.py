"""From frame to answer: headers, routes, the kinds of answers, and exceptions."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import anyio
import pytest
from broker_kit import Kit, a_client, a_frame, turns, waiting

from kgw_core import wire
from kgw_core.api import registry
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError, PolicyViolation, Unanswerable, UnknownServerError, error_name
from kgw_core.pending import Pending
from kgw_core.server import responses
from kgw_core.server.dispatch import Dispatcher
from kgw_core.server.routes import Route
from kgw_core.wire import MalformedMessage
from kgw_core.wire.messages.fetch import FetchableTopicResponse, FetchResponse, PartitionData
from kgw_core.wire.messages.find_coordinator import FindCoordinatorRequest
from kgw_core.wire.messages.list_offsets import ListOffsetsRequest, ListOffsetsResponse

pytestmark = pytest.mark.anyio

LIST_OFFSETS, FIND_COORDINATOR = 2, 10
FLEXIBLE = 6
"""The first flexible version of ListOffsets."""


def an_api(handle: Callable[[Any, RequestContext], Any]) -> Api:
    def refuse(request: Any, error: KafkaError, context: RequestContext) -> ListOffsetsResponse:
        return ListOffsetsResponse(throttle_time_ms=1000 + error.code)

    return Api("ListOffsets", (0, 11), handle, refuse)


def dispatcher(kit: Kit, handle: Callable[[Any, RequestContext], Any]) -> Dispatcher:
    return Dispatcher(kit.broker, {LIST_OFFSETS: an_api(handle)})


def list_offsets(version: int = 5, client_id: str | None = "tester", correlation: int = 7) -> bytearray:
    return a_frame(LIST_OFFSETS, version, correlation, ListOffsetsRequest(), client_id)


def start(kit: Kit, handle: Callable[[Any, RequestContext], Any], frame: bytes | bytearray) -> Any:
    return dispatcher(kit, handle).start(memoryview(bytearray(frame)), kit.client, False)


def throttle(answer: Any, version: int = 5) -> int:
    """The throttle time of the answer, after its header."""
    data = answer if isinstance(answer, bytes) else b"".join(answer)
    assert int.from_bytes(data[:4], "big") == len(data) - 4
    assert int.from_bytes(data[4:8], "big") == 7
    at = 9 if version >= FLEXIBLE else 8
    return wire.decode(ListOffsetsResponse, version, data[at:]).throttle_time_ms


def ok(request: Any, context: RequestContext) -> ListOffsetsResponse:
    return ListOffsetsResponse(throttle_time_ms=5)


class TestHeaders:
    @pytest.mark.parametrize("size", range(10))
    async def test_too_few_bytes_for_a_header(self, kit: Kit, size: int) -> None:
        with pytest.raises(Unanswerable, match="has no header"):
            start(kit, ok, list_offsets()[:size])

    @pytest.mark.parametrize("key", [99, -1, 32767, -32768])
    async def test_an_api_that_there_is_not(self, kit: Kit, key: int) -> None:
        frame = list_offsets()
        frame[:2] = key.to_bytes(2, "big", signed=True)
        with pytest.raises(Unanswerable, match=f"there is no API {key}"):
            start(kit, ok, frame)

    async def test_an_api_that_is_not_served_is_named(self, kit: Kit) -> None:
        with pytest.raises(Unanswerable, match=r"API 10 \(FindCoordinator\) is not served"):
            start(kit, ok, a_frame(FIND_COORDINATOR, 1, 7, FindCoordinatorRequest("g")))

    @pytest.mark.parametrize("version", [12, -1, 32767])
    async def test_a_version_that_is_not_served(self, kit: Kit, version: int) -> None:
        frame = list_offsets()
        frame[2:4] = version.to_bytes(2, "big", signed=True)
        with pytest.raises(Unanswerable, match=f"ListOffsets v{version} is not served, v0 to v11 are"):
            start(kit, ok, frame)

    @pytest.mark.parametrize("version", [5, FLEXIBLE])
    async def test_the_answer_carries_the_correlation_id(self, kit: Kit, version: int) -> None:
        assert throttle(start(kit, ok, list_offsets(version)), version) == 5

    @pytest.mark.parametrize("version", [5, FLEXIBLE])
    async def test_the_client_id_is_remembered(self, kit: Kit, version: int) -> None:
        start(kit, ok, list_offsets(version, None))
        assert kit.client.client_id is None
        start(kit, ok, list_offsets(version, "me"))
        assert kit.client.client_id == "me"
        start(kit, ok, list_offsets(version, None))
        assert kit.client.client_id == "me"

    @pytest.mark.parametrize("version", [5, FLEXIBLE])
    async def test_an_empty_client_id_is_one(self, kit: Kit, version: int) -> None:
        start(kit, ok, list_offsets(version, ""))
        assert kit.client.client_id == ""

    @pytest.mark.parametrize("version", [5, FLEXIBLE])
    async def test_a_client_id_that_is_no_text_is_no_reason_to_refuse(self, kit: Kit, version: int) -> None:
        frame = list_offsets(version, "xy")
        frame[10:12] = b"\xff\xfe"
        assert throttle(start(kit, ok, frame), version) == 5
        assert kit.client.client_id == "\ufffd\ufffd"

    @pytest.mark.parametrize("version", [5, FLEXIBLE])
    @pytest.mark.parametrize("length", [50, 200, 32767])
    async def test_a_client_id_that_runs_over_the_frame(self, kit: Kit, version: int, length: int) -> None:
        frame = list_offsets(version)
        frame[8:10] = length.to_bytes(2, "big")
        with pytest.raises(Unanswerable, match="ListOffsets v"):
            start(kit, ok, frame)

    async def test_tagged_fields_of_a_flexible_header_are_skipped(self, kit: Kit) -> None:
        frame = list_offsets(FLEXIBLE)
        assert frame[16] == 0
        tagged = frame[:16] + b"\x02" + b"\x63\x03abc" + b"\x64\x01z" + frame[17:]
        assert throttle(start(kit, ok, tagged), FLEXIBLE) == 5
        assert kit.client.client_id == "tester"

    @pytest.mark.parametrize("tags", [b"\x01", b"\x01\x63", b"\x01\x63\x7f", b"\xff\xff\xff\xff\x0f"])
    async def test_tagged_fields_that_run_over_the_frame(self, kit: Kit, tags: bytes) -> None:
        with pytest.raises(Unanswerable, match="ListOffsets v6"):
            start(kit, ok, list_offsets(FLEXIBLE)[:16] + tags)

    async def test_what_follows_a_request_does_not_hurt(self, kit: Kit) -> None:
        assert throttle(start(kit, ok, list_offsets() + b"more")) == 5


class TestAnswers:
    async def test_at_once(self, kit: Kit) -> None:
        assert throttle(start(kit, ok, list_offsets())) == 5

    async def test_none(self, kit: Kit) -> None:
        assert start(kit, lambda request, context: None, list_offsets()) is None

    async def test_later(self, kit: Kit) -> None:
        later: Pending[Any] = Pending()
        answer = waiting(start(kit, lambda request, context: later, list_offsets()))
        later.resolve(ListOffsetsResponse(throttle_time_ms=5))
        assert throttle(answer.result()) == 5

    async def test_later_but_done_already(self, kit: Kit) -> None:
        later: Pending[Any] = Pending()
        later.resolve(ListOffsetsResponse(throttle_time_ms=5))
        assert throttle(start(kit, lambda request, context: later, list_offsets())) == 5

    async def test_later_and_none(self, kit: Kit) -> None:
        later: Pending[Any] = Pending()
        answer = waiting(start(kit, lambda request, context: later, list_offsets()))
        later.resolve(None)
        assert answer.result() is None

    async def test_from_a_coroutine(self, kit: Kit) -> None:
        async def handle(request: Any, context: RequestContext) -> ListOffsetsResponse:
            await turns(3)
            return ListOffsetsResponse(throttle_time_ms=5)

        answer = waiting(start(kit, handle, list_offsets()))
        await turns()
        assert throttle(answer.result()) == 5

    async def test_abandoning_the_answer_abandons_what_it_waits_for(self, kit: Kit) -> None:
        later: Pending[Any] = Pending()
        told: list[int] = []
        answer = waiting(start(kit, lambda request, context: later, list_offsets()))
        later.on_abandon = lambda: told.append(1)
        answer.abandon()
        assert told == [1]

    async def test_large_records_leave_without_being_copied(self, kit: Kit) -> None:
        big = bytes(responses.JOINED)
        small = b"s" * 100

        def handle(request: Any, context: RequestContext) -> FetchResponse:
            parts = [PartitionData(0, records=[small, big]), PartitionData(1, records=[small])]
            return FetchResponse(responses=[FetchableTopicResponse("t", partitions=parts)])

        api = Api("Fetch", (4, 18), handle, handle)  # type: ignore[arg-type]
        request = wire.message("FetchRequest")()
        frame = memoryview(a_frame(1, 12, 7, request))
        answer = Dispatcher(kit.broker, {1: api}).start(frame, kit.client, False)
        assert isinstance(answer, list)
        assert [part is big for part in answer] == [False, True, False]
        data = b"".join(answer)
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        response = wire.decode(FetchResponse, 12, data[9:])
        sizes = [len(each.records or b"") for each in response.responses[0].partitions]
        assert sizes == [100 + len(big), 100]


class Raising:
    """Handlers that fail with ``error`` in each of the ways that there are."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.pending: Pending[Any] = Pending()

    def at_once(self, request: Any, context: RequestContext) -> Any:
        raise self.error

    def later(self, request: Any, context: RequestContext) -> Any:
        return self.pending

    async def in_a_task(self, request: Any, context: RequestContext) -> Any:
        await turns(3)
        raise self.error

    async def answer(self, kit: Kit, way: str) -> Any:
        """The outcome. :raises Exception: the connection's error."""
        answer = start(kit, getattr(self, way), list_offsets())
        if isinstance(answer, Pending):
            if way == "later":
                self.pending.fail(self.error)
            await turns()
            assert answer.done
            return answer.result()
        return answer


@pytest.mark.parametrize("way", ["at_once", "later", "in_a_task"])
class TestExceptions:
    async def test_a_kafka_error_becomes_a_refusal_and_one_line(
        self, kit: Kit, way: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            answer = await Raising(PolicyViolation("not here")).answer(kit, way)
        assert throttle(answer) == 1000 + PolicyViolation.code
        (record,) = caplog.records
        assert record.getMessage().endswith("got POLICY_VIOLATION from ListOffsets: not here")

    async def test_any_other_becomes_unknown_server_error_with_one_traceback(
        self, kit: Kit, way: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        answer = await Raising(ZeroDivisionError("bug")).answer(kit, way)
        assert throttle(answer) == 1000 - 1
        with_traceback = [record for record in caplog.records if record.exc_info]
        assert len(with_traceback) == 1
        assert "ListOffsets of client 192.0.2.7:40001 (tester) failed" in with_traceback[0].getMessage()

    async def test_unanswerable_is_told_to_the_connection_alone(self, kit: Kit, way: str) -> None:
        with pytest.raises(Unanswerable, match="no use"):
            await Raising(Unanswerable("no use")).answer(kit, way)

    async def test_a_refusal_that_fails_itself_is_told_to_the_connection(
        self, kit: Kit, way: str, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(request: Any, error: KafkaError, context: RequestContext) -> Any:
            raise RuntimeError("cannot even refuse")

        monkeypatch.setitem(globals(), "an_api", lambda handle: Api("ListOffsets", (0, 11), handle, refuse))
        with pytest.raises(RuntimeError, match="cannot even refuse"):
            await Raising(PolicyViolation("x")).answer(kit, way)


@pytest.mark.parametrize("way", ["at_once", "later", "in_a_task"])
class TestResponsesThatCannotBeEncoded:
    BAD = ListOffsetsResponse(throttle_time_ms=10**12)

    def handler(self, way: str) -> Any:
        async def in_a_task(request: Any, context: RequestContext) -> Any:
            return self.BAD

        def later(request: Any, context: RequestContext) -> Any:
            pending: Pending[Any] = Pending()
            asyncio.get_running_loop().call_soon(pending.resolve, self.BAD)
            return pending

        return {"at_once": lambda request, context: self.BAD, "later": later, "in_a_task": in_a_task}[way]

    async def ask(self, kit: Kit, api: Api) -> Any:
        answer = Dispatcher(kit.broker, {LIST_OFFSETS: api}).start(
            memoryview(list_offsets()), kit.client, False
        )
        if isinstance(answer, Pending):
            with anyio.fail_after(5):
                answer = await answer.wait()
        return answer

    async def test_are_refused_as_a_fault_of_the_gateway(
        self, kit: Kit, way: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        answer = await self.ask(kit, an_api(self.handler(way)))
        assert throttle(answer) == 1000 + UnknownServerError.code
        (record,) = [record for record in caplog.records if record.exc_info]
        assert "ListOffsets of client 192.0.2.7:40001 (tester) failed" in record.getMessage()

    async def test_end_the_connection_where_the_refusal_cannot_be_encoded_either(
        self, kit: Kit, way: str
    ) -> None:
        api = Api("ListOffsets", (0, 11), self.handler(way), lambda *_: self.BAD)
        with pytest.raises(MalformedMessage, match="ListOffsetsResponse"):
            await self.ask(kit, api)


async def test_a_frame_of_its_own_is_told_from_one_that_is_gone_after_the_call(kit: Kit) -> None:
    seen: list[int] = []

    def handle(request: Any, context: RequestContext) -> ListOffsetsResponse:
        seen.append(context.own_bytes)
        return ListOffsetsResponse()

    frame = list_offsets()
    made = dispatcher(kit, handle)
    made.start(memoryview(frame), kit.client, True)
    made.start(memoryview(frame), kit.client, False)
    assert seen == [len(frame), 0]


async def test_requests_are_shown_when_debugging(kit: Kit, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG, logger="kgw_core.server.dispatch"):
        start(kit, ok, list_offsets() + b"xyz")
    assert "ListOffsets v5 #7" in caplog.records[0].getMessage()
    assert "3 bytes follow the request" in caplog.records[1].getMessage()


async def test_two_clients_keep_their_ids_apart(kit: Kit) -> None:
    made = dispatcher(kit, ok)
    first, second = a_client(1), a_client(2)
    made.start(memoryview(list_offsets(5, "one")), first, False)
    made.start(memoryview(list_offsets(5, "two")), second, False)
    assert (first.client_id, second.client_id) == ("one", "two")


def test_every_served_version_has_a_route() -> None:
    assert error_name(0) == "NONE"
    for api in registry.load().values():
        for version in range(api.versions[0], api.versions[1] + 1):
            Route(api, version)
