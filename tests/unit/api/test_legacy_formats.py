"""Old clients: message sets in (Produce v0-v2) and out (Fetch v0-v3), stored as v2 batches."""

from __future__ import annotations

import struct
from typing import Any
from zlib import crc32

import msgspec
import pytest
from broker_kit import NOW, Kit, batch, values_of

from kgw_core import errors
from kgw_core.records import Codec, Record, compress, iter_legacy_records
from kgw_core.records.legacy_build import build_message_set
from kgw_core.wire.messages.fetch import FetchPartition, FetchRequest, FetchTopic
from kgw_core.wire.messages.produce import PartitionProduceData, ProduceRequest, TopicProduceData

pytestmark = pytest.mark.anyio

CODECS = [Codec.NONE, Codec.GZIP, Codec.SNAPPY, Codec.LZ4]


def message_set(magic: int, codec: Codec = Codec.NONE, count: int = 3, size: int = 4) -> bytes:
    records = [Record(b"k%d" % i, b"v%d" % i * (size // 2), NOW, offset=i) for i in range(count)]
    return bytes(build_message_set(records, magic, codec=codec))


async def produce(kit: Kit, version: int, data: bytes, acks: int = 1) -> Any:
    request = ProduceRequest(
        None, acks, 1000, [TopicProduceData("t", partition_data=[PartitionProduceData(0, data)])]
    )
    response = await kit.ask(request, version)
    return response.responses[0].partition_responses[0]


async def fetch(kit: Kit, version: int, offset: int = 0) -> Any:
    request = FetchRequest(
        max_wait_ms=0,
        min_bytes=1,
        topics=[
            FetchTopic("t", partitions=[FetchPartition(0, fetch_offset=offset, partition_max_bytes=1 << 20)])
        ],
    )
    response = await kit.ask(request, version)
    return response.responses[0].partitions[0]


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.label)
@pytest.mark.parametrize(("version", "magic"), [(0, 0), (1, 0), (2, 0), (2, 1)])
async def test_a_message_set_is_stored_as_one_v2_batch(
    kit: Kit, version: int, magic: int, codec: Codec
) -> None:
    log = await kit.log()
    answer = await produce(kit, version, message_set(magic, codec))
    assert (answer.error_code, answer.base_offset) == (0, 0)
    runs = await log.read(0, 1 << 20)
    assert values_of(runs) == [b"v0v0", b"v1v1", b"v2v2"]
    assert bytes(runs[0].data)[16] == 2
    assert log.high_watermark == 3


async def test_a_large_message_set_is_converted_off_the_loop_and_in_order(kit: Kit) -> None:
    log = await kit.log()
    for base in (0, 500, 1000):
        assert (await produce(kit, 2, message_set(1, count=500, size=40))).base_offset == base
    assert log.high_watermark == 1500


async def test_an_empty_message_set_appends_nothing_and_is_no_error(kit: Kit) -> None:
    log = await kit.log()
    answer = await produce(kit, 1, b"")
    assert (answer.error_code, answer.base_offset) == (0, -1)
    assert log.high_watermark == 0


def wrapper(packed: bytes, codec: Codec = Codec.GZIP) -> bytes:
    """A message of v1 with compressed data inside, and a correct CRC."""
    body = struct.pack(">bbqii", 1, codec, NOW, -1, len(packed)) + packed
    return struct.pack(">qiI", 0, len(body) + 4, crc32(body)) + body


WRONG_INSIDE = {
    "cut off at its end": (message_set(1)[:-1], errors.InvalidRecord),
    "garbage where gzip should be": (wrapper(b"garbage " * 9), errors.InvalidRecord),
    "compressed, and cut": (wrapper(compress(Codec.GZIP, message_set(1))[:-3]), errors.InvalidRecord),
    "a message inside that is cut": (
        wrapper(compress(Codec.GZIP, message_set(1)[:-3])),
        errors.InvalidRecord,
    ),
    "a bomb": (wrapper(compress(Codec.GZIP, message_set(1, count=1, size=2 << 20))), errors.MessageTooLarge),
    "from the future": (
        build_message_set([Record(b"k", b"v", NOW), Record(b"k", b"v", NOW + 9_000_000)], 1),
        errors.InvalidTimestamp,
    ),
}


@pytest.mark.parametrize("what", WRONG_INSIDE)
async def test_what_is_wrong_inside_is_refused_and_not_stored(kit: Kit, what: str) -> None:
    data, error = WRONG_INSIDE[what]
    log = await kit.log()
    limits = msgspec.structs.replace(kit.config.limits, max_inflated_batch=1 << 20)
    kit.broker.config = msgspec.structs.replace(kit.config, limits=limits)
    assert (await produce(kit, 2, bytes(data))).error_code == error.code
    assert log.high_watermark == 0


@pytest.mark.parametrize("behind", [bytes(12), b"garbage " * 9, compress(Codec.GZIP, b"")])
async def test_what_follows_the_gzip_of_a_message_is_left_out(kit: Kit, behind: bytes) -> None:
    """As Java's reader leaves it out; the batch that is stored has nothing behind its records."""
    log = await kit.log()
    packed = compress(Codec.GZIP, message_set(1))
    assert (await produce(kit, 2, wrapper(packed + behind))).error_code == 0
    assert values_of(await log.read(0, 1 << 20)) == [b"v0v0", b"v1v1", b"v2v2"]


async def test_a_damaged_message_is_refused_and_not_stored(kit: Kit) -> None:
    log = await kit.log()
    damaged = bytearray(message_set(1))
    damaged[-1] ^= 1
    assert (await produce(kit, 2, bytes(damaged))).error_code == errors.CorruptMessage.code
    assert log.high_watermark == 0


@pytest.mark.parametrize("version", [0, 1, 2])
async def test_old_versions_take_v2_batches_as_kafka_does(kit: Kit, version: int) -> None:
    await kit.log()
    assert (await produce(kit, version, bytes(batch("a", "b")))).error_code == 0


@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.label)
@pytest.mark.parametrize(("version", "magic"), [(0, 0), (1, 0), (2, 1), (3, 1)])
async def test_a_fetch_below_v4_gets_message_sets(kit: Kit, version: int, magic: int, codec: Codec) -> None:
    log = await kit.log()
    log.append(memoryview(batch("a", "b", "c", codec=codec)), False)
    log.append(memoryview(batch("d", codec=codec)), False)
    answer = await fetch(kit, version)
    assert (answer.error_code, answer.high_watermark) == (0, 4)
    assert bytes(answer.records)[16] == magic
    records = list(iter_legacy_records(answer.records))
    assert [(record.offset, record.value) for record in records] == [
        (0, b"a"),
        (1, b"b"),
        (2, b"c"),
        (3, b"d"),
    ]
    assert {record.timestamp for record in records} == ({NOW} if magic else {-1})


async def test_headers_are_dropped_for_formats_without_them(kit: Kit) -> None:
    log = await kit.log()
    from kgw_core.records import build_batch

    log.append(memoryview(build_batch([Record(b"k", b"v", NOW, (("h", b"1"),))])), False)
    (record,) = iter_legacy_records((await fetch(kit, 3)).records)
    assert (record.key, record.value, record.headers) == (b"k", b"v", ())


async def test_zstd_cannot_be_converted_down(kit: Kit) -> None:
    log = await kit.log()
    log.append(memoryview(batch("a", codec=Codec.ZSTD)), False)
    assert (await fetch(kit, 3)).error_code == errors.UnsupportedCompressionType.code
    assert (await fetch(kit, 4)).error_code == 0


async def test_a_topic_may_refuse_to_convert_down(kit: Kit) -> None:
    log = await kit.log("t", **{"message.downconversion.enable": "false"})
    log.append(memoryview(batch("a")), False)
    assert (await fetch(kit, 3)).error_code == errors.UnsupportedVersion.code


async def test_what_old_clients_produced_new_ones_fetch_as_it_is_stored(kit: Kit) -> None:
    await kit.log()
    await produce(kit, 0, message_set(0, Codec.LZ4))
    answer = await fetch(kit, 11)
    assert bytes(answer.records)[16] == 2
