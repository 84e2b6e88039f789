"""Batches that Kafka's own client wrote (kafka-clients 3.9.1).

JavaBatches.java wrote them into java_batches.tsv: version, codec, timestamp type, bytes in hex.
"""

from pathlib import Path

import pytest

from kgw_core.records import (
    Codec,
    Record,
    RecordBatch,
    build_batch,
    build_end_marker,
    iter_legacy_records,
    iter_records,
    parse_control,
    upconvert,
)
from kgw_core.records.legacy_build import build_message_set
from kgw_core.records.lz4_legacy import with_right_checksum, with_wrong_checksum

TIME = 1_700_000_000_000
APPENDED = TIME + 99

ROWS = [line.split("\t") for line in Path(__file__).with_name("java_batches.tsv").read_text().splitlines()]
BATCHES = {(version, codec, kind): bytes.fromhex(data) for version, codec, kind, data in ROWS}
LEGACY = [name for name in BATCHES if name[0] != "v2"]
V2 = [name for name in BATCHES if name[0] == "v2" and name[1] != "marker"]


def records(version: str, kind: str) -> list[Record]:
    """The records of JavaBatches.java, as a batch of that kind returns them."""
    headers = (("h", b"x"), ("n", None)) if version == "v2" else ()
    times = [TIME, TIME + 5000, TIME - 7]
    if kind == "LogAppendTime":
        times = [APPENDED] * 3
    if version == "v0":
        times = [-1] * 3
    return [
        Record(b"key", b"value", times[0], headers, 40),
        Record(None, b"no key" * 30, times[1], (), 41),
        Record(b"tombstone", None, times[2], (), 42),
    ]


def test_java_wrote_every_kind() -> None:
    assert len(LEGACY) == 12
    assert len(V2) == 10


@pytest.mark.parametrize("name", V2)
def test_v2_batches_are_read(name: tuple[str, str, str]) -> None:
    version, codec, kind = name
    batch = RecordBatch(BATCHES[name])
    batch.check_crc()
    assert batch.codec.label == codec
    assert batch.log_append_time == (kind == "LogAppendTime")
    assert (batch.base_offset, batch.last_offset, batch.size) == (40, 42, len(BATCHES[name]))
    assert list(iter_records(batch)) == records(version, kind)


@pytest.mark.parametrize("name", LEGACY)
def test_legacy_sets_are_read_and_converted(name: tuple[str, str, str]) -> None:
    version, codec, kind = name
    wanted = records(version, kind)
    assert list(iter_legacy_records(BATCHES[name], allow_partial=False)) == wanted
    batch = RecordBatch(upconvert(BATCHES[name]))
    assert batch.codec.label == codec
    for offset, record in enumerate(wanted):
        record.offset = offset
    assert list(iter_records(batch)) == wanted


@pytest.mark.parametrize("name", [name for name in BATCHES if name[1] == "none"])
def test_what_is_not_compressed_is_written_as_java_writes_it(name: tuple[str, str, str]) -> None:
    version, _, kind = name
    append_time = APPENDED if kind == "LogAppendTime" else None
    if version == "v2":
        built: bytes | bytearray = build_batch(records(version, "CreateTime"), log_append_time=append_time)
    else:
        built = build_message_set(records(version, kind), int(version[1]), log_append_time=append_time)
    assert built == BATCHES[name]


@pytest.mark.parametrize("name", [name for name in LEGACY if name[1] != "none"])
def test_the_wrapper_is_written_as_java_writes_it(name: tuple[str, str, str]) -> None:
    """But for the CRC, the size and the compressed bytes, which are a matter of the compressor."""
    version, codec, kind = name
    append_time = APPENDED if kind == "LogAppendTime" else None
    built = build_message_set(
        records(version, kind), int(version[1]), codec=Codec.of_label(codec), log_append_time=append_time
    )
    end = 22 if version == "v0" else 30
    java = BATCHES[name]
    assert (built[:8], built[16:end]) == (java[:8], java[16:end])


def test_the_transaction_marker_is_javas() -> None:
    java = BATCHES["v2", "marker", "CreateTime"]
    (record,) = iter_records(RecordBatch(java))
    assert parse_control(record).coordinator_epoch == 12
    built = build_end_marker(
        True,
        producer_id=9,
        producer_epoch=2,
        coordinator_epoch=12,
        timestamp=TIME,
        base_offset=40,
        leader_epoch=3,
    )
    assert built == java


def test_the_wrong_checksum_of_an_lz4_header_is_javas() -> None:
    java = {version: BATCHES[version, "lz4", "CreateTime"] for version in ("v0", "v1")}
    wrong, right = (data[data.index(b"\x04\x22\x4d\x18") :] for data in java.values())
    assert (wrong[:7].hex(), right[:7].hex()) == ("04224d1860401a", "04224d18604082")
    assert with_right_checksum(wrong)[:7] == right[:7]
    assert with_wrong_checksum(right)[:7] == wrong[:7]
