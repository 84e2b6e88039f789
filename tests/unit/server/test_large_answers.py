"""Answers of many entries to small requests: the same as small ones give, in steps, one at a time."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import anyio
import pytest
from broker_kit import Kit, a_frame, a_kit, turns

from kgw_core.api import describe_log_dirs, list_groups, metadata
from kgw_core.api import large as large_answers
from kgw_core.api.large import LargeAnswer
from kgw_core.api.registry import Api
from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError, PolicyViolation, UnknownServerError
from kgw_core.groups.group import Group
from kgw_core.pending import Pending
from kgw_core.server.dispatch import Dispatcher
from kgw_core.wire import ZERO_UUID
from kgw_core.wire.json import to_json
from kgw_core.wire.messages.create_partitions import CreatePartitionsRequest, CreatePartitionsTopic
from kgw_core.wire.messages.delete_records import (
    DeleteRecordsPartition,
    DeleteRecordsRequest,
    DeleteRecordsTopic,
)
from kgw_core.wire.messages.delete_topics import DeleteTopicsRequest
from kgw_core.wire.messages.describe_log_dirs import DescribeLogDirsRequest
from kgw_core.wire.messages.incremental_alter_configs import (
    AlterableConfig,
    AlterConfigsResource,
    IncrementalAlterConfigsRequest,
)
from kgw_core.wire.messages.list_groups import ListGroupsRequest, ListGroupsResponse
from kgw_core.wire.messages.metadata import MetadataRequest, MetadataRequestTopic

pytestmark = pytest.mark.anyio

LIST_GROUPS = 16


@pytest.fixture
async def kit() -> AsyncIterator[Kit]:
    made = await a_kit()
    yield made
    await made.close()


@pytest.fixture
def all_are_large(monkeypatch: pytest.MonkeyPatch) -> Any:
    """From here on every answer counts as one of many entries, and is made in small steps."""

    def begin() -> None:
        for module in (metadata, describe_log_dirs, list_groups):
            monkeypatch.setattr(module, "MANY", 0)
        monkeypatch.setattr(large_answers, "STEP", 2)

    return begin


NAMES = [MetadataRequestTopic(ZERO_UUID, name) for name in ("b", "nowhere", "a")]


@pytest.mark.parametrize(
    ("request_", "version"),
    [
        (MetadataRequest(None, include_topic_authorized_operations=True), 10),
        (MetadataRequest([]), 0),
        (MetadataRequest(NAMES, False), 12),
        (DescribeLogDirsRequest(None), 4),
        (ListGroupsRequest(), 5),
        (ListGroupsRequest(states_filter=["Empty"]), 5),
        (ListGroupsRequest(states_filter=["Stable"]), 5),
    ],
)
async def test_a_large_answer_is_what_a_small_one_is(
    kit: Kit, all_are_large: Any, request_: Any, version: int
) -> None:
    for name, partitions in (("a", 1), ("b", 7), ("c", 3)):
        await kit.topic(name, partitions)
    for name in ("g1", "g2", "g3"):
        kit.broker.groups.coordinator.groups[name] = Group(name)
    small = await kit.ask(request_, version)
    all_are_large()
    begun = kit.start(request_, version)
    assert isinstance(begun, Pending)
    assert not begun.done
    large = kit.decode(await begun.wait(), request_, version)
    assert large == small


async def test_others_get_their_turns_while_all_topics_are_told(kit: Kit) -> None:
    for number in range(4):
        await kit.topic(f"t{number}", 1000)
    answer = kit.start(MetadataRequest(None), 9)
    assert isinstance(answer, Pending)
    count = 0
    while not answer.done:
        await anyio.lowlevel.checkpoint()
        count += 1
    assert count >= 4000 // large_answers.STEP
    response = kit.decode(answer.result(), MetadataRequest(None), 9)
    assert [len(topic.partitions) for topic in response.topics] == [1000] * 4


async def test_one_topic_of_many_partitions_that_is_asked_for_by_name_is_told_in_turns(kit: Kit) -> None:
    await kit.topic("t", 3000)
    request = MetadataRequest([MetadataRequestTopic(name="t"), MetadataRequestTopic(name="u")], False)
    answer = kit.start(request, 9)
    assert isinstance(answer, Pending)
    count = 0
    while not answer.done:
        await anyio.lowlevel.checkpoint()
        count += 1
    assert count >= 3000 // large_answers.STEP
    topics = kit.decode(answer.result(), request, 9).topics
    assert [(topic.name, topic.error_code, len(topic.partitions)) for topic in topics] == [
        ("t", 0, 3000),
        ("u", 3, 0),
    ]


async def test_a_topic_that_is_deleted_before_its_turn_is_unknown(kit: Kit, all_are_large: Any) -> None:
    for name in ("a", "b"):
        await kit.topic(name, 3)
    all_are_large()
    for request in (MetadataRequest(None), MetadataRequest([MetadataRequestTopic(name="b")], False)):
        await kit.catalog.ensure("b", 3)
        answer = kit.start(request, 9)
        await kit.catalog.delete("b")
        assert isinstance(answer, Pending)
        topics = kit.decode(await answer.wait(), request, 9).topics
        assert ("b", 0) not in [(topic.name, topic.error_code) for topic in topics]


TOPICS = [f"t{number}" for number in range(300)]
ALL_PARTITIONS = [DeleteRecordsPartition(number, 0) for number in range(300)]
NEW_CONFIG = [AlterableConfig("retention.ms", 0, "5")]


@pytest.mark.parametrize(
    ("request_", "version"),
    [
        (CreatePartitionsRequest([CreatePartitionsTopic(name, 2, None) for name in TOPICS]), 3),
        (DeleteTopicsRequest(topic_names=TOPICS), 5),
        (
            DeleteRecordsRequest([DeleteRecordsTopic("wide", ALL_PARTITIONS)]),
            2,
        ),
        (IncrementalAlterConfigsRequest([AlterConfigsResource(2, name, NEW_CONFIG) for name in TOPICS]), 1),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_others_get_their_turns_while_many_topics_change(kit: Kit, request_: Any, version: int) -> None:
    for name in TOPICS:
        await kit.topic(name)
    await kit.topic("wide", 300)
    answer = kit.start(request_, version)
    assert isinstance(answer, Pending)
    count = 0
    while not answer.done:
        await anyio.lowlevel.checkpoint()
        count += 1
    assert count >= 300 // large_answers.CHANGES
    text = str(to_json(kit.decode(answer.result(), request_, version), version))
    assert text.count("'errorCode': 0") == 300


# -- in place of ListGroups


def refuse(request: Any, error: KafkaError, context: RequestContext) -> ListGroupsResponse:
    return ListGroupsResponse(1000, error.code)


class Handler:
    """Gives large answers that the test lets go: ``begun`` are those that are being made."""

    def __init__(self, outcome: Any = None) -> None:
        self.begun = 0
        self.most = 0
        self.made = 0
        self.go = anyio.Event()
        self.outcome = outcome or ListGroupsResponse(5)

    async def handle(self, request: Any, context: RequestContext) -> LargeAnswer:
        return LargeAnswer(self.make)

    async def make(self) -> ListGroupsResponse:
        self.begun += 1
        self.most = max(self.most, self.begun)
        await self.go.wait()
        self.begun -= 1
        self.made += 1
        if isinstance(self.outcome, Exception):
            raise self.outcome
        result: ListGroupsResponse = self.outcome
        return result


def start(kit: Kit, dispatcher: Dispatcher, size: int = 0) -> Pending[Any]:
    frame = a_frame(LIST_GROUPS, 5, 7, ListGroupsRequest(["s" * size] if size else []))
    answer = dispatcher.start(memoryview(frame), kit.client, True)
    assert isinstance(answer, Pending)
    return answer


def dispatcher_of(kit: Kit, handler: Handler) -> Dispatcher:
    return Dispatcher(kit.broker, {LIST_GROUPS: Api("ListGroups", (0, 5), handler.handle, refuse)})


@pytest.mark.parametrize("size", [0, 20_000])
async def test_one_at_a_time_and_none_for_those_who_have_gone(kit: Kit, size: int) -> None:
    """Whether the request was a small one or had to wait for its own turn."""
    handler = Handler()
    dispatcher = dispatcher_of(kit, handler)
    answers = [start(kit, dispatcher, size) for _ in range(4)]
    await turns()
    assert handler.begun == 1
    answers[2].abandon()
    handler.go.set()
    for answer in (answers[0], answers[1], answers[3]):
        assert kit.decode(await answer.wait(), ListGroupsRequest(), 5).throttle_time_ms == 5
    await turns()
    assert (handler.most, handler.made) == (1, 3)


@pytest.mark.parametrize("size", [0, 20_000])
@pytest.mark.parametrize("how", ["known", "unknown", "cannot_be_encoded"])
async def test_what_fails_is_refused_and_the_next_is_served(kit: Kit, how: str, size: int) -> None:
    outcomes = {"known": PolicyViolation("no"), "unknown": ZeroDivisionError("a bug")}
    handler = Handler(outcomes.get(how, ListGroupsResponse(2**40)))
    handler.go.set()
    dispatcher = dispatcher_of(kit, handler)
    response = kit.decode(await start(kit, dispatcher, size).wait(), ListGroupsRequest(), 5)
    code = PolicyViolation.code if how == "known" else UnknownServerError.code
    assert (response.throttle_time_ms, response.error_code) == (1000, code)
    handler.outcome = ListGroupsResponse(6)
    response = kit.decode(await start(kit, dispatcher, size).wait(), ListGroupsRequest(), 5)
    assert response.throttle_time_ms == 6
