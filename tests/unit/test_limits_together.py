"""Limits that depend on each other: every pair on the page has a test, and what may exist can be used."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
import pytest
from broker_kit import a_kit
from requests_kit import filled

from kgw_core import wire
from kgw_core.api import registry
from kgw_core.budget import Budget
from kgw_core.config import Config, Limits
from kgw_core.errors import PolicyViolation
from kgw_core.log.tail import TailCache
from kgw_core.pending import Pending
from kgw_core.records.arena import Arena
from kgw_core.server.arriving import SLOWEST, Arriving
from kgw_core.spi.storage import TopicPartition
from kgw_core.testing.batches import make_batch
from kgw_core.wire.base import Message
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic, ForgottenTopic
from kgw_core.wire.messages.list_offsets import ListOffsetsPartition, ListOffsetsRequest, ListOffsetsTopic
from kgw_core.wire.messages.metadata import MetadataRequest
from kgw_core.wire.messages.offset_commit import (
    OffsetCommitRequest,
    OffsetCommitRequestPartition,
    OffsetCommitRequestTopic,
)
from kgw_core.wire.messages.offset_fetch import OffsetFetchRequest, OffsetFetchRequestTopic
from kgw_core.wire.messages.offset_for_leader_epoch import (
    OffsetForLeaderEpochRequest,
    OffsetForLeaderPartition,
    OffsetForLeaderTopic,
)

ROOT = Path(__file__).parents[2]
HERE = "tests/unit/test_limits_together.py"
CONFIG, CHECKS = "tests/unit/test_config.py", "tests/unit/test_config_validation.py"
SERVER, API = "tests/unit/server", "tests/unit/api"
SQLITE = "plugins/storage_sqlite/tests/test_sqlite_full.py"
REFUSED = "test_settings_that_do_not_go_together_are_refused"

PAIRS = [
    ("`max_topics` + `max_partitions`, `max_request_entries`", HERE, "test_everything_that_may_exist"),
    ("`max_topics` and `max_partitions`, `max_request_size`", HERE, "test_a_topic_takes_at_most"),
    ("`max_request_size`, `max_in_flight_bytes`, `max_total_in_flight_bytes`", CONFIG, REFUSED),
    (
        "`max_request_size`, `max_total_queued_bytes`",
        f"{SERVER}/test_large.py",
        "test_an_answer_that_is_larger_than_answers_may_be",
    ),
    ("`max_queued_bytes` and `fetch_max_bytes`, `max_total_queued_bytes`", CONFIG, REFUSED),
    (
        "requests that wait, `max_total_in_flight_bytes`",
        f"{SERVER}/test_pipeline.py",
        "test_a_large_request_is_charged_for_its_bytes_and",
    ),
    ("`max_request_size`, `frame_timeout`", HERE, "test_the_largest_request_may_come_slowly"),
    (
        "`max_partitions`, `max_fetch_session_partitions`",
        "tests/unit/fetching/test_sessions.py",
        "test_partitions_of_all_sessions_are_bounded",
    ),
    ("`max_connections`, `max_fetch_sessions`", "tests/unit/fetching/test_sessions.py", "test_no_room"),
    (
        "`max_connections`, open files of the process",
        "tests/unit/cli/test_open_files.py",
        "test_there_are_as_many_connections_as_there_may_be",
    ),
    (
        "`max_connections_per_address`, `max_connections`",
        "tests/integration/test_connection_limits.py",
        "test_connections_of_one_address",
    ),
    (
        "`topics.num_partitions` and `[[topics.create]]`, `max_topics` and `max_partitions`",
        CHECKS,
        REFUSED,
    ),
    (
        "10,000 partitions that CreatePartitions adds to a topic at once, `max_partitions`",
        f"{API}/test_admin_topics.py",
        "test_the_limit_of_all_partitions_holds",
    ),
    (
        "2,000 partitions in a page of DescribeTopicPartitions, `max_partitions`",
        f"{API}/test_admin_topics.py",
        "test_an_answer_has_at_most_two_thousand_partitions",
    ),
    (
        "SQLite's 1,048,575 partitions, `max_partitions`",
        SQLITE,
        "test_more_partitions_than_sqlite_can_number",
    ),
    (
        "`max.message.bytes`, `max_request_size`",
        f"{SERVER}/test_oversized.py",
        "test_a_producer_is_told_which_batch_is_too_large",
    ),
    (
        "`max.message.bytes`, `fetch_max_bytes` and what the client asks for",
        f"{API}/test_fetch.py",
        "test_the_first_batch_comes_even_where_it_is_larger",
    ),
    (
        "`max.message.bytes`, `max_inflated_batch`",
        "tests/integration/test_connection_limits.py",
        "test_a_batch_inflates_to_what_is_allowed",
    ),
    (
        "records of a batch, `max_inflated_batch`",
        "tests/unit/log/test_validator.py",
        "test_a_batch_of_more_records_than_there_is_room_for",
    ),
    (
        "`max.message.bytes`, SQLite's 1,000,000,000 bytes of a value",
        SQLITE,
        "test_a_batch_larger_than_sqlite_takes",
    ),
    ("`max.message.bytes`, `tail_cache`", HERE, "test_a_batch_larger_than_the_cache_is_not_kept"),
    (
        "`fetch_max_bytes`, the 100,000,000 bytes that librdkafka takes (`receive.message.max.bytes`)",
        HERE,
        "test_the_defaults_go_with_those_of_clients",
    ),
    ("`offset_metadata_max_size`, the longest text of the wire", CONFIG, REFUSED),
    (
        "`offset_metadata_max_size`, `max_request_size` and `max_total_queued_bytes`",
        f"{SERVER}/test_large.py",
        "test_an_answer_that_is_larger_than_answers_may_be",
    ),
    (
        "the 16 MiB of a value of the state, an OffsetCommit of any size",
        f"{SERVER}/test_many_entries.py",
        "test_produce_fetch_offsets_and_commits",
    ),
    (
        "the 16 MiB of a value of the state, a group",
        "tests/unit/groups/test_sizes.py",
        "test_a_new_member_that_brings_too_much_is_refused",
    ),
    (
        "the 16 MiB of a value of the state, producers of a partition",
        "tests/unit/log/test_snapshots.py",
        "test_one_that_is_too_large_is_not_kept",
    ),
    (
        "the longest client id and group instance id, a member id",
        f"{SERVER}/test_every_text.py",
        "test_a_client_id_that_grows_when_it_is_read",
    ),
    (
        "any text of a request, what an answer can tell",
        f"{SERVER}/test_every_text.py",
        "test_the_longest_is_answered",
    ),
    ("`min_session_timeout`, `max_session_timeout`", CONFIG, REFUSED),
    (
        "`append_timeout` and `commit_timeout`, what clients wait (30 s Java, 60 s librdkafka)",
        HERE,
        "test_the_defaults_go_with_those_of_clients",
    ),
    (
        "`idle_timeout`, the client's `connections.max.idle.ms` (9 minutes)",
        HERE,
        "test_the_defaults_go_with_those_of_clients",
    ),
]
"""The limits of the page, and the test of each."""


def test_every_pair_on_the_page_has_a_test() -> None:
    page = (ROOT / "docs/explanation/limits.md").read_text(encoding="utf-8")
    table = page.partition("<!-- pairs -->")[2].partition("<!-- end of pairs -->")[0]
    rows = re.findall(r"^\| (.+?) \| .+ \|$", table, re.MULTILINE)
    assert rows[1:] == [pair for pair, _, _ in PAIRS]
    for _, path, name in PAIRS:
        assert f"def {name}" in (ROOT / path).read_text(encoding="utf-8"), name


def test_every_limit_is_on_the_page() -> None:
    page = (ROOT / "docs/explanation/limits.md").read_text(encoding="utf-8")
    alone = {"max_in_flight_requests", "handshake_timeout", "drain_timeout"}
    """Nothing else could contradict them."""
    assert {name for name in Limits.__struct_fields__ if f"`{name}`" not in page} <= alone


# -- all that there may be

NAMES = ("Fetch", "ListOffsets", "Metadata", "OffsetCommit", "OffsetFetch", "OffsetForLeaderEpoch")
"""The requests of consumers about all of their partitions."""
LONGEST_NAME = "t" * 249
APIS = {api.name: api for api in registry.load().values()}


def arrays(message: Any) -> Iterator[list[Any]]:
    """Those of a message and of what is in it; their topics get the longest name."""
    for attr in message.__slots__:
        value = getattr(message, attr)
        if attr in ("name", "topic") and isinstance(value, str):
            setattr(message, attr, LONGEST_NAME)
        elif isinstance(value, list) and value:
            if any("partition" in name for name in getattr(value[0], "__slots__", ())) or "part" in attr:
                yield value
            if hasattr(value[0], "__slots__"):
                yield from arrays(value[0])


@pytest.mark.parametrize("kind", ["Request", "Response"])
@pytest.mark.parametrize("name", NAMES)
def test_a_topic_takes_at_most_300_bytes_and_a_partition_50(name: str, kind: str) -> None:
    """The size of naming and describing all of them, by the rule of ``max_request_size``."""
    cls = wire.message(f"{name}{kind}")
    first, last = APIS[name].versions
    for version in range(first, last + 1):
        message = filled(cls, version)
        for array in arrays(message):
            if hasattr(array[0], "aborted_transactions"):
                array[0].aborted_transactions = []  # there are none
            before = len(wire.encode(message, version))
            array *= 101
            each = (len(wire.encode(message, version)) - before) / 100
            del array[1:]
            inner = sum(map(len, arrays(array[0]))) if hasattr(array[0], "__slots__") else 0
            assert each <= (300 + 50 if inner else 50), (version, array[0])


TOPICS, EACH = [f"t{number}" for number in range(100)], Limits().max_partitions // 100


def fetching() -> FetchRequest:
    """All there is, and beside it the most that a Fetch may forget."""
    topics = [FetchTopic(name, partitions=[FetchPartition(at) for at in range(EACH)]) for name in TOPICS]
    rest = Limits().most_entries - len(TOPICS) * (EACH + 1)
    gone = [ForgottenTopic("gone", partitions=list(range(rest - 1)))]
    return FetchRequest(max_wait_ms=0, session_epoch=0, topics=topics, forgotten_topics_data=gone)


def listing() -> ListOffsetsRequest:
    parts = [ListOffsetsPartition(at, timestamp=-1) for at in range(EACH)]
    return ListOffsetsRequest(topics=[ListOffsetsTopic(name, parts) for name in TOPICS])


def committing() -> OffsetCommitRequest:
    parts = [OffsetCommitRequestPartition(at, 0) for at in range(EACH)]
    return OffsetCommitRequest(
        "g", topics=[OffsetCommitRequestTopic(name, partitions=parts) for name in TOPICS]
    )


def looking_up() -> OffsetFetchRequest:
    return OffsetFetchRequest("g", [OffsetFetchRequestTopic(name, list(range(EACH))) for name in TOPICS])


def asking_for_epochs() -> OffsetForLeaderEpochRequest:
    parts = [OffsetForLeaderPartition(at, leader_epoch=0) for at in range(EACH)]
    return OffsetForLeaderEpochRequest(topics=[OffsetForLeaderTopic(name, parts) for name in TOPICS])


@pytest.mark.timeout(300)  # it handles 600,000 entries; how long that takes is not what it tests
@pytest.mark.anyio
async def test_everything_that_may_exist_is_named_in_one_request() -> None:
    """With the defaults: 100,000 partitions."""
    kit = await a_kit()
    for name in TOPICS:
        await kit.topic(name, EACH)
    with pytest.raises(PolicyViolation):
        await kit.topic("more")
    asked: list[tuple[Message, int]] = [
        (MetadataRequest(None), 12),
        (fetching(), 12),
        (listing(), 6),
        (committing(), 8),
        (looking_up(), 7),
        (asking_for_epochs(), 4),
    ]
    for request, version in asked:
        with anyio.fail_after(60):
            answer = kit.start(request, version, stable=True)
            frame = await answer.wait() if isinstance(answer, Pending) else answer
        response = kit.decode(frame, request, version)
        topics = response.responses if isinstance(request, FetchRequest) else response.topics
        parts = [part for topic in topics for part in topic.partitions]
        assert len(parts) == len(TOPICS) * EACH, request
        assert {part.error_code for part in parts} == {0}, request
    assert parts[0].end_offset == 0
    await kit.close()


# -- other pairs


def test_the_largest_request_may_come_slowly() -> None:
    limits = Limits()
    whole = limits.max_request_size / SLOWEST
    arriving = Arriving(limits.max_request_size, Arena(), Budget(2**40), lambda: None)
    arriving.filled = limits.max_request_size - 1
    assert arriving.overdue(whole, limits) is None
    assert "limits.frame_timeout" in (arriving.overdue(whole + 2 * limits.frame_timeout, limits) or "")


def test_a_batch_larger_than_the_cache_is_not_kept() -> None:
    cache, tp = TailCache(10_000), TopicPartition("t", UUID(int=1), 0)
    cache.append(tp, 0, [make_batch(0, 1, size=1_000)])
    assert cache.read(tp, 0, 100_000)
    cache.append(tp, 1, [make_batch(1, 1, size=20_000)])
    assert not cache.read(tp, 1, 100_000) and cache.size <= 10_000
    cache.append(tp, 2, [make_batch(2, 1, size=1_000)])
    assert cache.read(tp, 2, 100_000), "and those after it are"


def test_the_defaults_go_with_those_of_clients() -> None:
    """Those of the Java client 4.4 and of librdkafka 2.12, by their own names."""
    limits, groups = Limits(), Config().groups
    header, receive_message_max_bytes = 1 << 20, 100_000_000
    assert limits.fetch_max_bytes + header < receive_message_max_bytes
    request_timeout, socket_timeout = 30.0, 60.0
    assert max(limits.append_timeout, groups.commit_timeout) < min(request_timeout, socket_timeout)
    connections_max_idle = 9 * 60.0
    assert limits.idle_timeout > connections_max_idle
    assert limits.max_fetch_session_partitions >= 2 * limits.max_partitions
