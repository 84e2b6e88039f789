"""Fetch sessions: their rules, the answers to incremental fetches, and that nothing is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import pytest
from broker_kit import a_client, a_kit, batch, done, turns, values_of, view, waiting
from hypothesis import given, settings
from hypothesis import strategies as st

from kgw_core.api import fetch_reading
from kgw_core.config import Limits
from kgw_core.errors import (
    FencedLeaderEpoch,
    FetchSessionIdNotFound,
    FetchSessionTopicIdError,
    InconsistentTopicId,
    InvalidFetchSessionEpoch,
    KafkaError,
    OffsetOutOfRange,
    UnknownTopicId,
    UnknownTopicOrPartition,
)
from kgw_core.fetching import sessions
from kgw_core.fetching.sessions import LAST_EPOCH
from kgw_core.log.waiting import tell_closed
from kgw_core.wire.messages.fetch import (
    FetchPartition,
    FetchRequest,
    FetchTopic,
    ForgottenTopic,
    PartitionData,
)

if TYPE_CHECKING:
    from broker_kit import Kit


@pytest.fixture(params=["small", "large", "large, in steps"], autouse=True)
def size(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything holds for sessions of any size. Large ones track what has changed; very large reads are done
    in steps."""
    if request.param != "small":
        monkeypatch.setattr(sessions, "LARGE", 0)
    if request.param == "large, in steps":
        monkeypatch.setattr(fetch_reading, "PARTS", 0)


V = 17
"""The version asked in, unless a test says otherwise: topics by id."""

# -- a client that has sessions


class Consumer:
    """Asks as Java's FetchSessionHandler does; ``known`` is what it knows of each partition.

    ``positions`` are the partitions it wants, with the offsets it wants next.
    """

    def __init__(self, kit: Kit, version: int = V, number: int = 1) -> None:
        self.kit = kit
        self.version = version
        self.client = a_client(number)
        self.positions: dict[tuple[str | bytes, int], int] = {}
        self.known: dict[tuple[str | bytes, int], PartitionData] = {}
        self.sent: dict[tuple[str | bytes, int], int] = {}
        self.id = 0
        self.epoch = 0

    def request(self, **options: Any) -> FetchRequest:
        full = self.epoch in (0, -1)
        changed = {key: at for key, at in self.positions.items() if full or self.sent.get(key) != at}
        gone = [] if full else [key for key in self.sent if key not in self.positions]
        self.sent = dict(self.positions)
        for key in gone:
            self.known.pop(key, None)
        return a_fetch(
            self.version,
            changed,
            gone,
            session_id=self.id,
            session_epoch=self.epoch,
            **options,
        )

    async def poll(self, **options: Any) -> Any:
        return self.took(await self.kit.ask(self.request(**options), self.version, client=self.client))

    def took(self, response: Any) -> Any:
        """Learn from a response; return it."""
        if response.error_code:
            self.epoch = 0
            if response.error_code == FetchSessionIdNotFound.code:
                self.id = 0
            return response
        if response.session_id == 0:
            self.id, self.epoch = 0, 0
        else:
            self.epoch = 1 if self.epoch in (0, LAST_EPOCH) else self.epoch + 1
            self.id = response.session_id
        self.known.update(answers_of(response))
        return response


def a_fetch(
    version: int, wanted: Mapping[Any, int], gone: Any = (), *, max_each: int = 1 << 20, **options: Any
) -> FetchRequest:
    topics: dict[Any, FetchTopic] = {}
    forgotten: dict[Any, ForgottenTopic] = {}
    for (topic, partition), offset in wanted.items():
        names = (topic,) if isinstance(topic, str) else ("", topic)
        entry = topics.setdefault(topic, FetchTopic(*names))
        entry.partitions.append(FetchPartition(partition, fetch_offset=offset, partition_max_bytes=max_each))
    for topic, partition in gone:
        names = (topic,) if isinstance(topic, str) else ("", topic)
        forgotten.setdefault(topic, ForgottenTopic(*names)).partitions.append(partition)
    settings = {"max_wait_ms": 0, "min_bytes": 1, "max_bytes": 1 << 20} | options
    return FetchRequest(
        topics=list(topics.values()), forgotten_topics_data=list(forgotten.values()), **settings
    )


def answers_of(response: Any) -> dict[tuple[str | bytes, int], PartitionData]:
    return {
        (topic.topic or topic.topic_id, each.partition_index): each
        for topic in response.responses
        for each in topic.partitions
    }


def errors_of(response: Any) -> dict[int, int]:
    return {key[1]: each.error_code for key, each in answers_of(response).items()}


async def consumer_of(kit: Kit, partitions: int = 3, *, offset: int = 0, version: int = V) -> Consumer:
    """A consumer with a session over all partitions of a topic, each of which has one record."""
    state = await kit.topic("t", partitions)
    consumer = Consumer(kit, version)
    for index in range(partitions):
        done((await kit.log("t", index)).append(view(batch(f"first{index}")), False))
        consumer.positions[state.id_bytes if version >= 13 else "t", index] = offset
    response = await consumer.poll()
    assert response.session_id and len(answers_of(response)) == partitions
    return consumer


def close_log(kit: Kit, partition: int) -> None:
    """The log is closed, as after a failed append."""
    log = kit.catalog.by_name["t"].partitions[partition]
    log.ready = False
    tell_closed(log.waiting)


def write(kit: Kit, partition: int, *values: str) -> None:
    done(kit.catalog.by_name["t"].partitions[partition].append(view(batch(*values)), False))


anyio_test = pytest.mark.anyio


@anyio_test
@pytest.mark.parametrize("version", [7, 11, 12, 13, 18])
async def test_incremental_answers_have_only_news(kit: Kit, version: int) -> None:
    consumer = await consumer_of(kit, offset=1, version=version)
    assert answers_of(await consumer.poll()) == {}
    write(kit, 1, "a", "b")
    ((key, got),) = answers_of(await consumer.poll()).items()
    assert (key[1], got.high_watermark, values_of(got.records)) == (1, 3, [b"a", b"b"])
    ((_, again),) = answers_of(await consumer.poll()).items()  # the position has not moved
    assert values_of(again.records) == [b"a", b"b"]
    consumer.positions[key] = 3
    assert answers_of(await consumer.poll()) == {}
    await kit.catalog.by_name["t"].partitions[2].trim(1)
    ((key, got),) = answers_of(await consumer.poll()).items()
    assert (key[1], got.log_start_offset, values_of(got.records)) == (2, 1, [])
    assert answers_of(await consumer.poll()) == {}


@anyio_test
async def test_a_position_that_moves_back_reads_again(kit: Kit) -> None:
    consumer = await consumer_of(kit, 2, offset=1)
    key = next(iter(consumer.positions))
    consumer.positions[key] = 0
    assert values_of(answers_of(await consumer.poll())[key].records) == [b"first0"]


@anyio_test
async def test_versions_before_sessions_have_none(kit: Kit) -> None:
    await kit.log("t")
    assert (await kit.ask(a_fetch(6, {("t", 0): 0}), 6)).session_id == 0
    response = await kit.ask(a_fetch(7, {("t", 0): 0}, session_epoch=-1), 7)
    assert response.session_id == 0 and len(kit.broker.fetch_sessions) == 0


@anyio_test
@pytest.mark.parametrize("epoch", [0, -1])
async def test_a_full_fetch_ends_the_session_that_it_names(kit: Kit, epoch: int) -> None:
    consumer = await consumer_of(kit)
    before, consumer.epoch = consumer.id, epoch
    response = await consumer.poll()
    assert len(answers_of(response)) == 3
    assert kit.broker.fetch_sessions.get(before) is None
    assert bool(response.session_id) == (epoch == 0)
    assert len(kit.broker.fetch_sessions) == (epoch == 0)


@anyio_test
async def test_a_session_is_not_bound_to_a_connection(kit: Kit) -> None:
    consumer = await consumer_of(kit, offset=1)
    consumer.client = a_client(2)
    write(kit, 0, "x")
    assert len(answers_of(await consumer.poll())) == 1


@anyio_test
@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"id": 12345}, FetchSessionIdNotFound),
        ({"id": 0}, FetchSessionIdNotFound),
        ({"epoch": 2}, InvalidFetchSessionEpoch),
        ({"epoch": -2}, InvalidFetchSessionEpoch),
        ({"version": 12}, FetchSessionTopicIdError),
    ],
)
async def test_session_errors(kit: Kit, change: dict[str, int], error: type[KafkaError]) -> None:
    consumer = await consumer_of(kit)
    id = consumer.id
    vars(consumer).update(change)
    if "version" in change:
        consumer.positions = {}
        consumer.sent = {}
    response = await consumer.poll()
    assert (response.error_code, response.session_id, response.responses) == (error.code, 0, [])
    assert kit.broker.fetch_sessions.get(id) is not None


@anyio_test
async def test_forgetting_everything_ends_the_session_at_once(kit: Kit) -> None:
    consumer = await consumer_of(kit)
    consumer.positions = {}
    response = await consumer.poll(max_wait_ms=10_000)
    assert (response.error_code, response.session_id, response.responses) == (0, 0, [])
    assert len(kit.broker.fetch_sessions) == 0


@anyio_test
async def test_no_room_means_full_fetches() -> None:
    kit = await a_kit()
    kit.broker.fetch_sessions.max_sessions = 0
    await kit.log("t")
    response = await kit.ask(a_fetch(12, {("t", 0): 0}, session_epoch=0), 12)
    assert (response.error_code, response.session_id, errors_of(response)) == (0, 0, {0: 0})
    await kit.close()
    assert Limits().max_fetch_sessions == 1000


@anyio_test
async def test_a_long_poll_answers_with_what_came(kit: Kit) -> None:
    consumer = await consumer_of(kit, offset=1)
    request = consumer.request(max_wait_ms=500)
    poll = waiting(kit.start(request, V))
    await kit.clock.advance(0.4)
    write(kit, 2, "late")
    assert not poll.done
    await turns()
    response = consumer.took(kit.decode(poll.result(), request, V))
    assert [values_of(each.records) for each in answers_of(response).values()] == [[b"late"]]
    request = consumer.request(max_wait_ms=500)  # the position has not moved: no wait
    response = consumer.took(kit.decode(kit.start(request, V), request, V))
    assert len(answers_of(response)) == 1
    consumer.positions[list(consumer.positions)[2]] = 2
    request = consumer.request(max_wait_ms=500)
    poll = waiting(kit.start(request, V))
    await kit.clock.advance(0.5)
    assert answers_of(consumer.took(kit.decode(poll.result(), request, V))) == {}


@anyio_test
async def test_offsets_that_moved_do_not_hurry_a_poll(kit: Kit) -> None:
    consumer = await consumer_of(kit, offset=1)
    write(kit, 0, "x")
    request = consumer.request(max_wait_ms=500, min_bytes=1000)
    poll = waiting(kit.start(request, V))
    await kit.clock.advance(0.5)
    response = consumer.took(kit.decode(poll.result(), request, V))
    assert [each.high_watermark for each in answers_of(response).values()] == [2]


@anyio_test
async def test_a_poll_that_another_overtook_is_told_so(kit: Kit) -> None:
    consumer = await consumer_of(kit, offset=1)
    request = consumer.request(max_wait_ms=500)
    poll = waiting(kit.start(request, V))
    consumer.epoch += 1
    assert (await consumer.poll()).error_code == 0
    write(kit, 0, "x")
    await turns()
    response = kit.decode(poll.result(), request, V)
    assert (response.error_code, response.session_id) == (InvalidFetchSessionEpoch.code, consumer.id)
    assert len(answers_of(await consumer.poll())) == 1, "nothing was lost by it"


@anyio_test
async def test_a_session_may_end_while_a_poll_waits(kit: Kit) -> None:
    consumer = await consumer_of(kit, offset=1)
    request = consumer.request(max_wait_ms=500)
    poll = waiting(kit.start(request, V))
    kit.broker.fetch_sessions.close(consumer.id)
    write(kit, 0, "x")
    await turns()
    assert len(answers_of(consumer.took(kit.decode(poll.result(), request, V)))) == 1
    assert (await consumer.poll()).error_code == FetchSessionIdNotFound.code
    assert len(answers_of(await consumer.poll())) == 3


# -- topics that come and go


@anyio_test
async def test_an_id_that_is_not_there_yet_is_found_later(kit: Kit) -> None:
    from uuid import uuid4

    consumer = await consumer_of(kit, 1, offset=1)
    later = uuid4()
    consumer.positions[later.bytes, 0] = 0
    for _ in range(2):
        assert errors_of(await consumer.poll()) == {0: UnknownTopicId.code}, "errors are told every time"
    await kit.catalog.create("later", 1, topic_id=later)
    done((await kit.log("later")).append(view(batch("x")), False))
    assert values_of(answers_of(await consumer.poll())[later.bytes, 0].records) == [b"x"]


@anyio_test
async def test_a_topic_by_id_that_is_deleted_and_made_again(kit: Kit) -> None:
    consumer = await consumer_of(kit, 1, offset=1)
    await kit.catalog.delete("t")
    assert errors_of(await consumer.poll()) == {0: UnknownTopicOrPartition.code}
    new = await kit.topic("t")
    assert errors_of(await consumer.poll()) == {0: InconsistentTopicId.code}
    consumer.positions = {(new.id_bytes, 0): 0}
    assert errors_of(await consumer.poll()) == {0: 0}
    assert answers_of(await consumer.poll()) == {}


@anyio_test
async def test_a_topic_by_name_that_is_deleted_and_made_again(kit: Kit) -> None:
    consumer = await consumer_of(kit, 1, offset=1, version=12)
    assert answers_of(await consumer.poll()) == {}
    await kit.catalog.delete("t")
    assert errors_of(await consumer.poll()) == {0: UnknownTopicOrPartition.code}
    await kit.topic("t")
    assert errors_of(await consumer.poll()) == {0: OffsetOutOfRange.code}
    write(kit, 0, "again")
    assert errors_of(await consumer.poll()) == {0: 0}, "that the error is gone is told"
    assert answers_of(await consumer.poll()) == {}


@anyio_test
async def test_a_partition_that_is_added_later(kit: Kit) -> None:
    consumer = await consumer_of(kit, 1, offset=1)
    ((topic, _),) = consumer.positions
    consumer.positions[topic, 1] = 0
    assert errors_of(await consumer.poll()) == {1: UnknownTopicOrPartition.code}
    await kit.catalog.add_partitions("t", 2)
    assert errors_of(await consumer.poll()) == {1: 0}
    assert answers_of(await consumer.poll()) == {}


@anyio_test
async def test_a_missing_topic_does_not_hurry_a_poll_unless_alone(kit: Kit) -> None:
    consumer = await consumer_of(kit, 1, offset=1)
    consumer.positions[b"x" * 16, 0] = 0
    request = consumer.request(max_wait_ms=500)
    poll = waiting(kit.start(request, V))
    await kit.clock.advance(0.5)
    response = consumer.took(kit.decode(poll.result(), request, V))
    assert errors_of(response) == {0: UnknownTopicId.code}
    del consumer.positions[next(iter(consumer.positions))]
    assert not hasattr(kit.start(consumer.request(max_wait_ms=500), V), "done")


@anyio_test
async def test_a_topic_that_was_made_again_ends_a_poll_beside_an_idle_one(kit: Kit) -> None:
    consumer = await consumer_of(kit, 1, offset=1)
    gone = await kit.topic("gone")
    consumer.positions[gone.id_bytes, 0] = 0
    await consumer.poll()
    await kit.catalog.delete("gone")
    await kit.topic("gone")
    for _ in range(2):  # it is told as long as it is asked for
        response = await consumer.poll(max_wait_ms=60_000)
        assert errors_of(response) == {0: InconsistentTopicId.code}


@anyio_test
async def test_a_deletion_ends_a_poll(kit: Kit) -> None:
    consumer = await consumer_of(kit, 1, offset=1)
    request = consumer.request(max_wait_ms=500)
    poll = waiting(kit.start(request, V))
    await kit.catalog.delete("t")
    await turns()
    response = kit.decode(poll.result(), request, V)
    assert errors_of(response) == {0: UnknownTopicOrPartition.code}


# -- turns


@anyio_test
@pytest.mark.parametrize("sessions", [True, False])
@pytest.mark.parametrize("max_bytes", [0, 1, 250])
async def test_a_small_max_bytes_starves_nobody(kit: Kit, sessions: bool, max_bytes: int) -> None:
    count = 5
    consumer = await consumer_of(kit, count)
    for index in range(count):
        for _ in range(20):
            write(kit, index, "x" * (100 if index % 2 else 10))
    served = dict.fromkeys(range(count), 0)
    if not sessions:
        consumer.epoch = -1
    for _ in range(4 * count):
        response = await consumer.poll(max_bytes=max_bytes, max_each=1000)
        if not sessions:
            consumer.epoch = -1
        size = 0
        for key, got in answers_of(response).items():
            if got.records:
                size += len(got.records)
                served[key[1]] += 1
                consumer.positions[key] += len(values_of(got.records))
        first = max(len(batch("x" * 100)), max_bytes)
        assert 0 < size <= first
    assert min(served.values()) >= 3, served


@anyio_test
async def test_a_batch_over_the_partitions_limit_comes_first_only(kit: Kit) -> None:
    consumer = await consumer_of(kit, 2, offset=1)
    write(kit, 0, "small")
    write(kit, 1, "large" * 100)
    consumer.epoch = 0
    await consumer.poll(max_each=150)
    got: list[list[int]] = []
    for _ in range(4):
        response = await consumer.poll(max_each=150)
        got.append([key[1] for key, each in answers_of(response).items() if each.records])
    assert all(1 not in each[1:] for each in got), got
    assert {index for each in got for index in each} == {0, 1}


# -- epochs


@anyio_test
async def test_truncation_is_told_where_the_log_knows(kit: Kit) -> None:
    log = await kit.log("t")
    write(kit, 0, "a", "b")

    async def ask(offset: int, last: int, epoch: int = -1) -> PartitionData:
        asked = FetchPartition(0, epoch, offset, last, partition_max_bytes=1 << 20)
        request = FetchRequest(max_wait_ms=1000, min_bytes=1, topics=[FetchTopic("t", partitions=[asked])])
        return (await kit.ask(request, 12)).responses[0].partitions[0]

    log.leader_epoch = 3
    got = await ask(5, 3)
    assert (got.error_code, got.diverging_epoch.epoch, got.diverging_epoch.end_offset) == (0, 3, 2)
    assert (got.records, got.high_watermark) == (b"", 2)
    got = await ask(1, 3)
    assert got.diverging_epoch is None and values_of(got.records) == [b"a", b"b"]
    assert (await ask(1, 4)).error_code == OffsetOutOfRange.code, "newer than any epoch"
    assert (await ask(5, 2)).error_code == OffsetOutOfRange.code, "where epoch 2 ended is not known"
    assert values_of((await ask(1, 2)).records) == [b"a", b"b"]
    assert (await ask(1, -1, epoch=2)).error_code == FencedLeaderEpoch.code


@anyio_test
@pytest.mark.parametrize("version", [12, 15, 16, 18])
async def test_a_fenced_epoch_names_the_leader(kit: Kit, version: int) -> None:
    consumer = await consumer_of(kit, 2, version=version)
    log = kit.catalog.by_name["t"].partitions[0]
    log.leader_epoch = 7
    key = next(iter(consumer.positions))
    request = a_fetch(version, {key: 0}, session_id=consumer.id, session_epoch=1)
    request.topics[0].partitions[0].current_leader_epoch = 6
    response = await kit.ask(request, version)
    got = answers_of(response)[key]
    assert got.error_code == FencedLeaderEpoch.code
    if version >= 16:
        assert (got.current_leader.leader_id, got.current_leader.leader_epoch) == (kit.config.node_id, 7)
        assert [(node.node_id, node.host, node.port) for node in response.node_endpoints] == [
            (kit.config.node_id, "gateway.test", 9092)
        ]
    else:
        assert got.current_leader is None


@anyio_test
async def test_a_session_notices_a_new_leader_epoch(kit: Kit) -> None:
    consumer = await consumer_of(kit, 1, offset=1)
    key = next(iter(consumer.positions))
    request = a_fetch(V, {key: 1}, session_id=consumer.id, session_epoch=1)
    request.topics[0].partitions[0].current_leader_epoch = 0
    assert answers_of(await kit.ask(request, V)) == {}
    close_log(kit, 0)
    kit.catalog.by_name["t"].partitions[0].leader_epoch = 1
    kit.catalog.by_name["t"].partitions[0].ready = True
    response = await kit.ask(a_fetch(V, {}, session_id=consumer.id, session_epoch=2), V)
    assert errors_of(response) == {0: FencedLeaderEpoch.code}


@anyio_test
async def test_a_rack_changes_nothing(kit: Kit) -> None:
    consumer = await consumer_of(kit, 1)
    response = await consumer.poll(rack_id="elsewhere")
    assert [each.preferred_read_replica for each in answers_of(response).values()] == [-1]


# -- stores that wait, logs that close


@anyio_test
async def test_a_store_that_waits() -> None:
    from broker_kit import SlowStore

    store = SlowStore()
    store.patient = False
    kit = await a_kit(store)
    kit.start_writers()
    state = await kit.topic("t", 3)
    consumer = Consumer(kit)
    consumer.positions = {(state.id_bytes, index): 0 for index in range(3)}
    assert (await consumer.poll()).session_id
    assert answers_of(await consumer.poll()) == {}
    request = consumer.request(max_wait_ms=500)
    poll = waiting(kit.start(request, V))
    await turns()
    write_later = state.partitions[1].append(view(batch("x")), False)
    await turns(50)
    assert done(write_later).base_offset == 0
    response = consumer.took(kit.decode(poll.result(), request, V))
    assert [values_of(each.records) for each in answers_of(response).values()] == [[b"x"]]
    kit.logs.writers.stop()
    await kit.close()


@anyio_test
async def test_a_log_that_closed_is_opened_again(kit: Kit) -> None:
    consumer = await consumer_of(kit, 2, offset=1)
    request = consumer.request(max_wait_ms=500)
    poll = waiting(kit.start(request, V))
    close_log(kit, 1)
    write(kit, 0, "x")
    await turns()
    assert list(errors_of(consumer.took(kit.decode(poll.result(), request, V)))) == [0]
    close_log(kit, 1)
    assert list(errors_of(await consumer.poll())) == [0]
    assert kit.catalog.by_name["t"].partitions[1].ready


# -- random sessions against full fetches

ACTIONS = st.one_of(
    st.tuples(st.just("append"), st.integers(0, 5), st.integers(1, 3)),
    st.tuples(st.just("trim"), st.integers(0, 5), st.integers(0, 2)),
    st.tuples(st.just("want"), st.integers(0, 7), st.booleans()),
    st.tuples(st.just("move"), st.integers(0, 7), st.integers(-3, 3)),
    st.tuples(st.just("make"), st.integers(0, 1), st.booleans()),
    st.tuples(st.just("lose"), st.just(0), st.just(0)),
    st.tuples(st.just("poll"), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("poll"), st.integers(0, 3), st.booleans()),
)


@given(st.lists(ACTIONS, min_size=5, max_size=60), st.sampled_from([7, 12, 13, 18]))
@settings(max_examples=120, deadline=None)
def test_nothing_is_lost_by_asking_incrementally(actions: list[Any], version: int) -> None:
    """A consumer with a session knows the same as from a full fetch, and gets only changes."""
    asyncio.run(check_actions(actions, version))


async def check_actions(actions: list[Any], version: int) -> None:
    kit = await a_kit()
    names = ["t0", "t1"]
    by_id = version >= 13
    for name in names:
        await kit.topic(name, 3)
    consumer = Consumer(kit, version)

    def places() -> list[tuple[str | bytes, int]]:
        """Partitions that are there and (one of each topic) that are not."""
        states = [kit.catalog.by_name.get(name) for name in names]
        topics = [
            (state.id_bytes if by_id else state.name) if state else name
            for name, state in zip(names, states, strict=True)
        ]
        return [
            (topic, index) for topic in topics for index in range(4) if isinstance(topic, bytes) or not by_id
        ]

    consumer.positions = dict.fromkeys(places()[:5], 0)
    for kind, a, b in [*actions, ("poll", 3, False)]:
        state = kit.catalog.by_name.get(names[a // 3 % 2])
        here = places()
        place = here[a % len(here)] if here else None
        if kind == "append" and state:
            log = await kit.log(state.name, a % 3)
            done(log.append(view(batch(*["v" * 30] * b)), False))
        elif kind == "trim" and state:
            log = await kit.log(state.name, a % 3)
            await log.trim(min(log.start + b, log.high_watermark))
        elif kind == "want" and place:
            if b:
                consumer.positions.setdefault(place, 0)
            elif len(consumer.positions) > 1:
                consumer.positions.pop(place, None)
        elif kind == "move" and place in consumer.positions:
            consumer.positions[place] = max(consumer.positions[place] + b, 0)
        elif kind == "make":
            if names[a] in kit.catalog.by_name:
                await kit.catalog.delete(names[a])
            if b:
                await kit.topic(names[a], 3)
        elif kind == "lose":
            kit.broker.fetch_sessions.close(consumer.id)
        elif kind == "poll":
            await check_poll(kit, consumer, [0, 100, 250, 1 << 20][a], advance=b)
    await kit.close()


async def check_poll(kit: Kit, consumer: Consumer, max_bytes: int, *, advance: bool) -> None:
    before = dict(consumer.known)
    full = consumer.epoch == 0
    response = await consumer.poll(max_bytes=max_bytes)
    if response.error_code:
        assert response.error_code == FetchSessionIdNotFound.code
        full = True
        response = await consumer.poll(max_bytes=max_bytes)
    assert response.session_id
    got = answers_of(response)
    naive = a_fetch(consumer.version, consumer.positions, session_epoch=-1)
    truth = answers_of(await kit.ask(naive, consumer.version, client=a_client(9)))
    assert set(got) <= set(truth) == set(consumer.positions)
    for key, true in truth.items():
        known = consumer.known[key]
        if true.error_code != known.error_code:  # Kafka: an id whose name was known has other errors
            assert {true.error_code, known.error_code} <= {100, 103, 3}
        assert (known.high_watermark, known.log_start_offset) == (true.high_watermark, true.log_start_offset)
        mine = got.get(key)
        if mine is None:
            assert not full and not true.error_code
            assert not true.records or max_bytes < 1 << 20
        elif mine.records:
            assert bytes(true.records).startswith(bytes(mine.records))
        elif not full and not mine.error_code and key in before:
            old = before[key]
            assert old.error_code or (old.high_watermark, old.log_start_offset) != (
                mine.high_watermark,
                mine.log_start_offset,
            )
        if mine is not None and max_bytes == 1 << 20:
            assert bytes(mine.records or b"") == bytes(true.records or b"")
    data = [each for each in got.values() if each.records]
    assert bool(data) == any(true.records for true in truth.values())
    assert sum(len(each.records) for each in data) <= max_bytes or len(data) == 1
    for key, each in got.items():
        if advance and each.records:
            consumer.positions[key] = each.high_watermark
        elif each.error_code == OffsetOutOfRange.code:
            consumer.positions[key] = 0
