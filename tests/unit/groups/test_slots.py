"""Slots are Kafka's partitions of __consumer_offsets: part of the data, and fixed for good."""

from __future__ import annotations

import pytest

from kgw_core.groups.records import Committed, DropOffset, PutOffset, decode, encode, slot_prefix
from kgw_core.groups.slots import SLOTS, slot_of


@pytest.mark.parametrize(
    ("group_id", "code"),
    [
        ("", 0),
        ("a", 97),
        ("hello", 99_162_322),
        ("console-consumer-12345", 158_455_506),
        ("polygenelubricants", -(1 << 31)),  # Integer.MIN_VALUE, which Kafka takes for 0
        ("größe", 98_762_257),
        ("\N{GRINNING FACE}", 1_772_899),
    ],
)
def test_it_is_javas_hash_over_50(group_id: str, code: int) -> None:
    assert slot_of(group_id) == (0 if code == -(1 << 31) else abs(code)) % SLOTS


def test_keys_carry_it() -> None:
    committed = Committed(5, -1, "", 0, -1, b"i" * 16)
    key, value = encode(PutOffset("hello", "t", 3, committed))
    assert key == b"groups/22/o/\0\5hellot\0\0\0\3"
    assert key.startswith(slot_prefix("hello"))
    assert value is not None
    assert decode(key, value) == PutOffset("hello", "t", 3, committed)
    assert encode(DropOffset("hello", "t", 3)) == (key, None)


def test_a_key_of_the_first_release_has_none() -> None:
    committed = Committed(5, -1, "", 0, -1, b"i" * 16)
    _, value = encode(PutOffset("hello", "t", 3, committed))
    assert value is not None
    assert decode(b"groups/o/\0\5hellot\0\0\0\3", value) == PutOffset("hello", "t", 3, committed)
