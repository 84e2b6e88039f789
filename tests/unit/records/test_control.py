"""Control records: transaction markers, and types that are not known."""

import pytest
from aiokafka.record.control_record import ABORT_MARKER, COMMIT_MARKER
from aiokafka.record.control_record import ControlRecord as TheirControlRecord

from kgw_core.errors import InvalidRecord
from kgw_core.records import (
    ControlType,
    Record,
    RecordBatch,
    build_end_marker,
    end_marker,
    iter_records,
    parse_control,
)


def test_a_commit_marker_has_its_known_bytes() -> None:
    marker = end_marker(True, 5, 1000)
    assert (marker.key, marker.value) == (bytes.fromhex("00000001"), bytes.fromhex("000000000005"))
    assert end_marker(False, 5, 1000).key == bytes(4)


@pytest.mark.parametrize(("commit", "theirs"), [(True, COMMIT_MARKER), (False, ABORT_MARKER)])
def test_aiokafka_reads_the_markers(commit: bool, theirs: TheirControlRecord) -> None:
    key = end_marker(commit, 0, 0).key
    assert key is not None
    assert TheirControlRecord.parse(key) == theirs


@pytest.mark.parametrize("commit", [True, False])
def test_a_marker_batch_is_read_back(commit: bool) -> None:
    data = build_end_marker(
        commit,
        producer_id=9,
        producer_epoch=3,
        coordinator_epoch=12,
        timestamp=1000,
        base_offset=77,
        leader_epoch=1,
    )
    batch = RecordBatch(data)
    batch.check_crc()
    assert batch.is_control
    assert batch.is_transactional
    assert (batch.producer_id, batch.producer_epoch, batch.base_sequence) == (9, 3, -1)
    assert (batch.base_offset, batch.partition_leader_epoch) == (77, 1)
    (record,) = iter_records(batch)
    control = parse_control(record)
    assert control.type == (ControlType.COMMIT if commit else ControlType.ABORT)
    assert (control.version, control.coordinator_epoch, control.ends_transaction) == (0, 12, True)
    assert record.timestamp == 1000


def test_an_unknown_type_is_kept() -> None:
    control = parse_control(Record(bytes.fromhex("0000 7fff"), b"anything"))
    assert (control.type, control.value, control.coordinator_epoch) == (0x7FFF, b"anything", None)
    assert not control.ends_transaction


def test_fields_of_newer_versions_are_not_looked_at() -> None:
    control = parse_control(Record(bytes.fromhex("0002 0001 ffff"), bytes.fromhex("0001 00000009 abcd")))
    assert (control.version, control.type, control.coordinator_epoch) == (2, 1, 9)
    assert repr(control) == "ControlRecord(type=1, version=2, epoch=9)"


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b""),
        ("", b""),
        ("000000", b""),
        ("ffff0001", bytes(6)),
        ("00000001", None),
        ("00000001", bytes(5)),
        ("00000000", bytes.fromhex("ffff00000000")),
    ],
)
def test_a_malformed_control_record_is_refused(key: str | None, value: bytes | None) -> None:
    with pytest.raises(InvalidRecord):
        parse_control(Record(None if key is None else bytes.fromhex(key), value))
