"""Bootstrap addresses as people write them."""

from __future__ import annotations

import pytest

from kgw_core.client import ClientError
from kgw_core.client.cluster import Node, addresses


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("broker", [("broker", 9092)]),
        ("broker:19092", [("broker", 19092)]),
        ("a:1, b:2,", [("a", 1), ("b", 2)]),
        ("[::1]", [("::1", 9092)]),
        ("[::1]:7", [("::1", 7)]),
    ],
)
def test_addresses_are_read(text: str, found: list[tuple[str, int]]) -> None:
    assert addresses(text) == found


@pytest.mark.parametrize(
    "text",
    [
        "", ",", ":9092", "a:b", "a:", "a:0", "a:70000", "::1", "[::1", "[::1]x", "[]:1", "a:-1", "a b", "http://a",
    ],
)  # fmt: skip
def test_what_is_no_address_is_told(text: str) -> None:
    with pytest.raises(ClientError, match="address"):
        addresses(text)


def test_a_node_is_shown_as_it_is_dialled() -> None:
    assert (str(Node(1, "a", 2)), str(Node(1, "::1", 2))) == ("a:2", "[::1]:2")
