from __future__ import annotations

import pytest

from kgw_core.errors import InvalidTopicException
from kgw_core.topics.names import check_name, collides, is_internal


@pytest.mark.parametrize(
    "name", ["a", "orders", "a.b-c_D9", "...", "_", "-", "x" * 249, "__consumer_offsets"]
)
def test_a_name_that_kafka_takes_is_taken(name: str) -> None:
    check_name(name)


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("", "the empty string is not allowed"),
        (".", "'.' is not allowed"),
        ("..", "'..' is not allowed"),
        ("x" * 250, "longer than the max allowed length 249"),
        ("a b", "'a b' contains one or more characters other than ASCII alphanumerics, '.', '_' and '-'"),
        ("a/b", "characters other than"),
        ("a\n", "characters other than"),
        ("bücher", "characters other than"),
        ("٣", "characters other than"),
        ("a\x00", "characters other than"),
    ],
)
def test_a_name_that_kafka_refuses_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(InvalidTopicException, match=r"^Topic name is invalid: ") as caught:
        check_name(name)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ("a.b", "a_b", True),
        ("a.b_c", "a_b.c", True),
        ("a", "a", True),
        ("a.b", "a-b", False),
        ("a.b", "ab", False),
        ("a.b", "A.b", False),
    ],
)
def test_names_collide_when_they_differ_only_in_dot_for_underscore(a: str, b: str, expected: bool) -> None:
    assert collides(a, b) is expected
    assert collides(b, a) is expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("__consumer_offsets", True),
        ("__transaction_state", True),
        ("__kgw_state", True),
        ("__mine", False),
        ("kgw", False),
    ],
)
def test_the_gateways_own_topics_are_internal(name: str, expected: bool) -> None:
    assert is_internal(name) is expected
