from __future__ import annotations

import logging

import pytest
from broker_kit import a_client

from kgw_core.errors import CorruptMessage, OffsetOutOfRange, UnknownTopicOrPartition
from kgw_core.events import _MOST_REPORTED, Client, shown


def lines(caplog: pytest.LogCaptureFixture, level: int = logging.INFO) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == level]


@pytest.fixture(autouse=True)
def all_is_heard(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="kgw")


def test_the_first_error_of_a_kind_is_told_with_who_what_where_and_why(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = a_client()
    client.client_id = "orders"
    client.sent_error("Fetch", OffsetOutOfRange("offset 9 of t-0"), "t-0")
    assert lines(caplog) == [
        "client 192.0.2.7:40001 (orders) got OFFSET_OUT_OF_RANGE from Fetch t-0: offset 9 of t-0"
    ]


def test_the_same_again_is_counted_and_only_shown_when_debugging(caplog: pytest.LogCaptureFixture) -> None:
    client = a_client()
    for _ in range(3):
        client.sent_error("Fetch", OffsetOutOfRange("offset 9"), "t-0")
    assert len(lines(caplog)) == 1
    assert len(lines(caplog, logging.DEBUG)) == 2
    assert client.unreported == 2


def test_another_place_error_or_api_is_news(caplog: pytest.LogCaptureFixture) -> None:
    client = a_client()
    client.sent_error("Fetch", OffsetOutOfRange("x"), "t-0")
    client.sent_error("Fetch", OffsetOutOfRange("x"), "t-1")
    client.sent_error("Fetch", CorruptMessage("x"), "t-0")
    client.sent_error("Produce", CorruptMessage("x"), "t-0")
    assert len(lines(caplog)) == 4


def test_a_client_with_ever_new_errors_does_not_fill_the_log_or_the_memory(
    caplog: pytest.LogCaptureFixture,
) -> None:
    client = a_client()
    for number in range(_MOST_REPORTED + 50):
        client.sent_error("Metadata", OffsetOutOfRange("x"), f"topic-{number}")
    assert len(lines(caplog)) == _MOST_REPORTED
    assert client.unreported == 50


def test_a_client_introduces_itself_once(caplog: pytest.LogCaptureFixture) -> None:
    client = a_client()
    client.introduced("librdkafka", "2.11.0")
    client.introduced("librdkafka", "2.11.0")
    assert lines(caplog) == ["client 192.0.2.7:40001 connected: librdkafka 2.11.0"]
    assert (client.software_name, client.software_version) == ("librdkafka", "2.11.0")


def test_a_fault_of_the_gateway_is_told_with_its_traceback(caplog: pytest.LogCaptureFixture) -> None:
    try:
        raise ValueError("boom")
    except ValueError as error:
        a_client().crashed("Fetch", error)
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.exc_info
    assert "Fetch of client 192.0.2.7:40001 failed: ValueError('boom')" in record.getMessage()


@pytest.mark.parametrize("text", ["a\nERROR forged", "a\r\x1b[2Jb", "\u2028", "x" * 40_000])
def test_what_a_client_says_stays_within_its_line_and_that_within_bounds(
    text: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = Client(1, "192.0.2.7", 40001, "PLAINTEXT", ("gateway.test", 9092))
    client.client_id = text
    with caplog.at_level(logging.INFO):
        client.introduced(text, text)
        client.sent_error("Fetch", UnknownTopicOrPartition(f"there is no topic '{text}'"), text)
    for record in caplog.records:
        line = record.getMessage()
        assert line.isprintable()
        assert len(line) < 2_000
    assert len(caplog.records) == 2


def test_an_ordinary_name_is_shown_as_it_is() -> None:
    assert shown("café-1") == "café-1"
