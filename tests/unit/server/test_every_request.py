"""Every served API in every version, from the requests that Kafka's own clients write: cut, damaged, refused.

Whatever arrives, the dispatcher answers or raises Unanswerable; nothing else gets out of it.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import Any

import anyio
import pytest
from broker_kit import Kit, a_client, a_frame, a_kit, turns
from requests_kit import NAMES, requests, rows

from kgw_core import wire
from kgw_core.api import registry
from kgw_core.broker import RequestContext
from kgw_core.config import Limits
from kgw_core.errors import PolicyViolation, Unanswerable
from kgw_core.pending import Pending
from kgw_core.server.dispatch import Dispatcher
from kgw_core.wire.json import to_json

pytestmark = pytest.mark.anyio

PRODUCE = 0
REASON = "because of the test"


def damaged(body: bytes, chance: random.Random, times: int) -> bytes:
    data = bytearray(body)
    for _ in range(times if data else 0):
        data[chance.randrange(len(data))] = chance.choice([0, 1, 2, 0x7F, 0xFF, chance.randrange(256)])
    return bytes(data)


def taking_anything(kit: Kit) -> Dispatcher:
    """A dispatcher that decodes as ever and answers nothing."""
    apis = {key: replace(api, handle=lambda *_: None) for key, api in registry.load().items()}
    return Dispatcher(kit.broker, apis)


def refusing(kit: Kit, error: type[Exception]) -> Dispatcher:
    def handle(request: Any, context: RequestContext) -> Any:
        raise error(REASON)

    return Dispatcher(kit.broker, {key: replace(api, handle=handle) for key, api in registry.load().items()})


@pytest.mark.parametrize("name", NAMES)
async def test_a_body_that_is_cut_anywhere_ends_the_connection(kit: Kit, name: str) -> None:
    dispatcher = taking_anything(kit)
    for row in requests(name):
        frame = a_frame(row.api.key, row.version, 7, row.body)
        assert dispatcher.start(memoryview(frame), kit.client, False) is None
        for size in range(len(frame)):
            with pytest.raises(Unanswerable):
                dispatcher.start(memoryview(frame[:size]), kit.client, False)


@pytest.mark.parametrize("name", NAMES)
async def test_a_body_of_garbage_is_decoded_or_ends_the_connection(kit: Kit, name: str) -> None:
    dispatcher = taking_anything(kit)
    chance = random.Random(name)
    for row in requests(name):
        for _ in range(15):
            frame = a_frame(row.api.key, row.version, 7, damaged(row.body, chance, chance.randint(1, 4)))
            try:
                dispatcher.start(memoryview(frame), kit.client, False)
            except Unanswerable as error:
                assert str(error).startswith(f"{name} v{row.version}: ")


@pytest.mark.parametrize("error", [PolicyViolation, ZeroDivisionError])
@pytest.mark.parametrize("name", NAMES)
async def test_every_refusal_can_be_encoded_and_says_why(kit: Kit, name: str, error: type[Exception]) -> None:
    dispatcher = refusing(kit, error)
    code = PolicyViolation.code if error is PolicyViolation else -1
    told = set()
    for row in requests(name):
        key, version = row.api.key, row.version
        request = wire.decode(wire.message(wire.index.APIS[key].request), version, row.body)
        frame = memoryview(a_frame(key, version, 7, row.body))
        if key == PRODUCE and request.acks == 0:  # type: ignore[attr-defined]
            with pytest.raises(Unanswerable):
                dispatcher.start(frame, kit.client, False)
            continue
        answer = dispatcher.start(frame, kit.client, False)
        assert isinstance(answer, bytes)
        at = 8 + wire.response_header_version(key, version)
        response = wire.decode(wire.message(wire.index.APIS[key].response), version, answer[at:])
        codes = codes_in(to_json(response, version))
        assert not codes or code in codes
        if codes:
            told.add(version)
    first, last = registry.load()[key].versions
    assert told == set(range(first, last + 1))


def codes_in(value: Any) -> list[int]:
    """All error codes of a response as JSON."""
    if isinstance(value, list):
        return [code for item in value for code in codes_in(item)]
    if isinstance(value, dict):
        own = [value["errorCode"]] if "errorCode" in value else []
        return own + [code for item in value.values() for code in codes_in(item)]
    return []


@pytest.mark.parametrize("name", NAMES)
async def test_damaged_requests_are_answered_by_the_real_handlers_without_a_fault(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    kit = await a_kit(limits=Limits(max_partitions=20, max_topics=10), auto_create=True)
    await kit.log("t")
    chance = random.Random(name)
    for row in requests(name):
        for damage in range(4):
            client = a_client()
            frame = a_frame(row.api.key, row.version, 7, damaged(row.body, chance, damage))
            try:
                answer = kit.dispatcher.start(memoryview(frame), client, True)
                if isinstance(answer, Pending):
                    await kit.clock.advance(2**31)
                    with anyio.fail_after(5):
                        answer = await answer.wait()
            except Unanswerable:
                continue
            assert answer is None or answer
    await turns()
    assert [record.getMessage() for record in caplog.records if record.exc_info] == []
    await kit.close()


def test_there_is_a_request_of_nearly_every_served_version() -> None:
    """So that the tests above test something: the vectors reach the APIs of this gateway."""
    there = {(row.api.name, row.version) for found in rows().values() for row in found}
    served = [(api.name, v) for api in registry.load().values() for v in range(*api.versions)]
    assert len(there) / len(served) > 0.9
