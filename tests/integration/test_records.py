"""Every client consumes the records of every other client, byte for byte."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable

import pytest
from python_clients import CLIENTS, CREATE_TIME, LOG_APPEND_TIME, Client, Got, Rec, Refused

from kgw_core.errors import MessageTooLarge, OffsetOutOfRange
from kgw_core.testing.gateway import GatewayProcess

CODECS = ["none", "gzip", "snappy", "lz4", "zstd"]


def some_records(codec: str, count: int = 200) -> list[Rec]:
    """Records of many sizes, some of which compress well and some badly; time rises by one ms each."""
    began = time.time_ns() // 1_000_000 - count
    noise = bytes((index * index * 31 + index // 7) % 256 for index in range(5_000))
    return [
        Rec(
            f"{codec} {index} ".encode() + noise[index : index * 20] + b"x" * (index % 50),
            b"key %d" % index,
            [("number", b"%d" % index), ("codec", codec.encode())],
            0,
            began + index,
        )
        for index in range(count)
    ]


def contents(records: list[Rec] | list[Got]) -> list[tuple[object, ...]]:
    return [(record.timestamp, record.key, record.value, list(record.headers)) for record in records]


def need(client: Client, codec: str) -> None:
    if not client.has(codec):
        pytest.skip(f"{client.name} needs another package for {codec}")


@pytest.mark.parametrize("codec", CODECS)
def test_what_each_client_produced_each_client_consumes(
    codec: str, dev_gateway: GatewayProcess, name: str
) -> None:
    clients = [kind(dev_gateway.bootstrap) for kind in CLIENTS if kind.has(codec)]
    assert len(clients) > 1
    clients[0].create(name)
    expected: list[Rec] = []
    for client in clients:
        records = some_records(codec)
        sent = client.produce(name, records, codec=codec)
        assert [each.offset for each in sent] == list(range(len(expected), len(expected) + len(records)))
        expected += records
    for client in clients:
        got = client.consume(name, {0: 0}, len(expected))
        assert contents(got) == contents(expected), client.name
        assert [each.offset for each in got] == list(range(len(expected)))
        assert {each.timestamp_type for each in got} == {CREATE_TIME}


@pytest.mark.parametrize("target", ["gzip", "zstd", "uncompressed"])
def test_a_topic_s_own_codec_changes_nothing_that_is_read(client: Client, name: str, target: str) -> None:
    need(client, target if target != "uncompressed" else "none")
    client.create(name, 1, {"compression.type": target})
    records = some_records("gzip")
    client.produce(name, records, codec="gzip")
    assert contents(client.consume(name, {0: 0}, len(records))) == contents(records)


ODD = [
    Rec(None, b"a tombstone"),
    Rec(b"", b"an empty value"),
    Rec(b"no key", None),
    Rec(b"an empty key", b""),
    Rec(None, None, [("only", b"headers")]),
    Rec(b"twice", b"k", [("same", b"1"), ("same", b"2"), ("same", b"1")]),
    Rec(b"null header", b"k", [("null", None), ("empty", b""), ("", b"without a name")]),
    Rec(b"many headers", b"k", [(f"h{index}", bytes([index])) for index in range(200)]),
    Rec(b"not ascii", "ключ".encode(), [("заголовок", "значение".encode())]),
    Rec(bytes(range(256)), bytes(range(255, -1, -1))),
]


def test_null_and_empty_are_told_apart_by_every_client(
    dev_gateway: GatewayProcess, new_name: Callable[[], str]
) -> None:
    clients = [kind(dev_gateway.bootstrap) for kind in CLIENTS]
    for producing in clients:
        name = new_name()
        producing.create(name)
        sent = [record for record in ODD if producing.sends(record)]
        producing.produce(name, sent)
        for consuming in clients:
            got = consuming.consume(name, {0: 0}, len(sent))
            pair = f"{producing.name} to {consuming.name}"
            assert [each[1:] for each in contents(got)] == [each[1:] for each in contents(sent)], pair


@pytest.mark.parametrize("codec", ["none", "gzip"])
def test_a_record_of_a_megabyte_goes_through(client: Client, name: str, codec: str) -> None:
    value = bytes(range(256)) * 4_000
    client.create(name)
    client.produce(name, [Rec(value), Rec(b"after"), Rec(value[::-1])], codec=codec)
    assert [got.value for got in client.consume(name, {0: 0}, 3)] == [value, b"after", value[::-1]]


def test_a_record_that_is_too_large_is_refused_and_the_next_goes_through(client: Client, name: str) -> None:
    client.create(name, 1, {"max.message.bytes": "10000"})
    with pytest.raises(Refused) as refused:
        client.produce(name, [Rec(b"x" * 20_000)])
    assert refused.value.code == MessageTooLarge.code
    client.produce(name, [Rec(b"small")])
    assert client.bounds(name, 0) == (0, 1)


def test_a_record_over_the_default_limit_is_refused(client: Client, name: str) -> None:
    client.create(name)
    with pytest.raises(Refused) as refused:
        client.produce(name, [Rec(b"x" * (1_100_000))])
    assert refused.value.code == MessageTooLarge.code


def test_a_hundred_thousand_records_keep_their_order(client: Client, name: str) -> None:
    partitions = 3
    client.create(name, partitions)
    records = [Rec(b"%d" % index, partition=index % partitions) for index in range(100_000)]
    client.produce(name, records)
    got = client.consume(name, dict.fromkeys(range(partitions), 0), len(records))
    for partition in range(partitions):
        mine = [each for each in got if each.partition == partition]
        assert [each.value for each in mine] == [b"%d" % i for i in range(partition, 100_000, partitions)]
        assert [each.offset for each in mine] == list(range(len(mine)))


def test_an_idempotent_producer_writes_each_record_once_and_in_order(client: Client, name: str) -> None:
    client.create(name, 2)
    records = [Rec(b"%d" % index, partition=index % 2) for index in range(2_000)]
    client.produce(name, records, idempotent=True)
    got = client.consume(name, {0: 0, 1: 0}, len(records))
    assert client.bounds(name, 0) == client.bounds(name, 1) == (0, 1_000)
    for partition in range(2):
        mine = [int(each.value or b"") for each in got if each.partition == partition]
        assert mine == list(range(partition, 2_000, 2))


@pytest.mark.parametrize("acks", ["0", "1", "all"])
def test_records_arrive_whatever_acks_are_asked_for(client: Client, name: str, acks: str) -> None:
    client.create(name)
    client.produce(name, [Rec(b"%d" % index) for index in range(300)], acks=acks)
    assert [got.value for got in client.consume(name, {0: 0}, 300)] == [b"%d" % i for i in range(300)]


# -- places in the log


def test_a_consumer_begins_in_the_middle_of_a_batch(client: Client, name: str) -> None:
    client.create(name)
    client.produce(name, [Rec(b"%d" % index) for index in range(100)], codec="gzip")
    for start in (1, 37, 99):
        got = client.consume(name, {0: start}, 100 - start)
        assert [(each.offset, each.value) for each in got] == [(i, b"%d" % i) for i in range(start, 100)]


def test_an_offset_past_the_end_is_out_of_range(dev_gateway: GatewayProcess, name: str) -> None:
    client = CLIENTS[0](dev_gateway.bootstrap)
    client.create(name)
    client.produce(name, [Rec(b"1")])
    with pytest.raises(Refused) as refused:
        client.consume(name, {0: 2}, 1)
    assert refused.value.code in (OffsetOutOfRange.code, -140)  # librdkafka's own code: auto.offset.reset


def test_bounds_follow_what_is_produced(client: Client, name: str) -> None:
    client.create(name, 2)
    assert client.bounds(name, 1) == (0, 0)
    client.produce(name, [Rec(b"value", partition=1)] * 12)
    assert client.bounds(name, 1) == (0, 12)
    assert client.bounds(name, 0) == (0, 0)


def test_an_offset_is_found_by_its_time(client: Client, name: str) -> None:
    began = time.time_ns() // 1_000_000 - 100_000
    client.create(name)
    for codec, first in (("none", 0), ("gzip", 50)):
        client.produce(
            name, [Rec(b"v", timestamp=began + 10 * index) for index in range(first, first + 50)], codec=codec
        )
    assert client.offset_for_time(name, 0, 0) == 0
    assert client.offset_for_time(name, 0, began) == 0
    assert client.offset_for_time(name, 0, began + 1) == 1
    assert client.offset_for_time(name, 0, began + 490) == 49
    assert client.offset_for_time(name, 0, began + 731) == 74
    assert client.offset_for_time(name, 0, began + 990) == 99
    assert client.offset_for_time(name, 0, began + 991) is None


def test_create_time_is_the_producer_s(client: Client, name: str) -> None:
    client.create(name)
    at = time.time_ns() // 1_000_000 - 3_600_000
    client.produce(name, [Rec(b"v", timestamp=at)])
    (got,) = client.consume(name, {0: 0}, 1)
    assert (got.timestamp, got.timestamp_type) == (at, CREATE_TIME)


@pytest.mark.parametrize("codec", ["none", "gzip"])
def test_log_append_time_is_the_gateway_s(client: Client, name: str, codec: str) -> None:
    client.create(name, 1, {"message.timestamp.type": "LogAppendTime"})
    before = time.time_ns() // 1_000_000
    client.produce(name, [Rec(b"1", timestamp=1_000), Rec(b"2", timestamp=2_000)], codec=codec)
    after = time.time_ns() // 1_000_000
    got = client.consume(name, {0: 0}, 2)
    assert {each.timestamp_type for each in got} == {LOG_APPEND_TIME}
    assert all(before <= each.timestamp <= after for each in got)
    assert client.offset_for_time(name, 0, before) == 0
    assert client.offset_for_time(name, 0, after + 1) is None


# -- fetching


def test_a_waiting_consumer_gets_a_record_promptly(
    client: Client, dev_gateway: GatewayProcess, name: str
) -> None:
    client.create(name)
    produced: list[float] = []

    def produce() -> None:
        CLIENTS[0](dev_gateway.bootstrap).produce(name, [Rec(b"now")])
        produced.append(time.monotonic())

    got = client.first_waited(name, produce, 15.0)
    assert got.value == b"now"
    assert time.monotonic() - produced[0] < 5, "it came when the long poll was over, not when it was there"


def test_small_fetches_starve_no_partition(client: Client, name: str) -> None:
    partitions, each = 30, 5
    client.create(name, partitions)
    client.produce(
        name,
        [
            Rec(b"%d/%d " % (p, n) + b"x" * 300, partition=p)
            for n, p in itertools.product(range(each), range(partitions))
        ],
    )
    got = client.consume(name, dict.fromkeys(range(partitions), 0), partitions * each, small=True)
    for partition in range(partitions):
        mine = [record.offset for record in got if record.partition == partition]
        assert mine == list(range(each))


def test_a_batch_larger_than_the_fetch_is_given_whole(client: Client, name: str) -> None:
    client.create(name)
    records = [Rec(b"%d " % index + b"x" * 3_000) for index in range(10)]
    client.produce(name, records)
    got = client.consume(name, {0: 0}, 10, small=True)
    assert [each.value for each in got] == [each.value for each in records]
