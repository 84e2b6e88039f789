"""Each refusal with the code that Kafka 4 gives: ProduceRequest.validateRecords, ByteBufferLogInputStream,
UnifiedLog.analyzeAndValidateRecords and LogValidator."""

from __future__ import annotations

import pytest
from broker_kit import NOW, altered, batch

from kgw_core.errors import (
    CorruptMessage,
    InvalidRecord,
    InvalidTimestamp,
    KafkaError,
    MessageTooLarge,
    UnsupportedCompressionType,
)
from kgw_core.log.batch_header import check_batch, check_header_times
from kgw_core.records import HEADER_SIZE, Codec
from kgw_core.topics.configs import TopicConfigs

PLAIN = TopicConfigs.of()
HOUR = 3_600_000


def check(data: bytes | bytearray, **configs: str) -> None:
    topic = TopicConfigs.of({k.replace("_", "."): v for k, v in configs.items()})
    check_header_times(check_batch(memoryview(data), topic), topic, NOW)


def refused(data: bytes | bytearray, error: type[KafkaError], match: str = ".", **configs: str) -> None:
    with pytest.raises(error, match=match) as caught:
        check(data, **configs)
    assert type(caught.value) is error


def test_a_good_batch_gives_its_header() -> None:
    data = batch("a", "b", producer_id=9, producer_epoch=1, base_sequence=4)
    header = check_batch(memoryview(data), PLAIN)
    assert header[0] == 0
    assert header[6] == 1
    assert header[9:] == (9, 1, 4, 2)


@pytest.mark.parametrize("codec", list(Codec))
def test_every_codec_passes_unopened(codec: Codec) -> None:
    check(batch("a" * 100, codec=codec))


class TestStructure:
    def test_no_bytes_are_no_batch(self) -> None:
        refused(b"", InvalidRecord, "exactly one")

    @pytest.mark.parametrize("size", [1, 11, 12, 16, 17, 40, HEADER_SIZE - 1, HEADER_SIZE, HEADER_SIZE + 3])
    def test_a_batch_that_is_cut_off_is_no_batch(self, size: int) -> None:
        refused(batch("a" * 50)[:size], InvalidRecord)

    def test_two_batches_are_one_too_many(self) -> None:
        refused(batch("a") + batch("b"), InvalidRecord, "more than one")

    def test_what_follows_a_batch_is_not_dropped_in_silence(self) -> None:
        refused(batch("a") + b"\0" * 5, InvalidRecord, "more than one")

    @pytest.mark.parametrize("magic", [0, 1])
    def test_an_old_format_is_refused_as_such(self, magic: int) -> None:
        refused(altered(batch("a"), magic=magic), InvalidRecord, f"magic {magic}")
        refused(altered(batch("a"), magic=magic)[:40], InvalidRecord, f"magic {magic}")

    @pytest.mark.parametrize("magic", [3, 127, -1])
    def test_a_format_that_nobody_knows_is_damage(self, magic: int) -> None:
        refused(altered(batch("a"), magic=magic), CorruptMessage)
        refused(altered(batch("a"), magic=magic)[:40], CorruptMessage)

    @pytest.mark.parametrize("length", [14, 48])
    def test_a_length_below_a_header_is_damage(self, length: int) -> None:
        refused(altered(batch("a"), batch_length=length), CorruptMessage)

    @pytest.mark.parametrize("length", [-1, -(2**31), 13])
    def test_a_length_that_cannot_be_is_damage(self, length: int) -> None:
        refused(altered(batch("a"), batch_length=length), CorruptMessage)

    def test_a_short_batch_that_says_it_is_whole_is_damage(self) -> None:
        data = altered(batch("a"), batch_length=40 - 12)[:40]
        refused(data, CorruptMessage, "shorter than its header")


class TestContent:
    def test_a_flipped_bit_anywhere_under_the_checksum_is_damage(self) -> None:
        good = batch("abc", producer_id=4, producer_epoch=0, base_sequence=0)
        for at in range(21, len(good)):
            data = bytearray(good)
            data[at] ^= 0x10
            refused(data, CorruptMessage, "CRC")

    def test_offset_and_leader_epoch_are_outside_of_the_checksum(self) -> None:
        data = batch("a")
        data[12:16] = b"\x7f\x01\x02\x03"
        check(data)

    def test_a_checksum_that_is_wrong_is_damage(self) -> None:
        refused(altered(batch("a"), crc=1), CorruptMessage, "CRC")

    def test_a_base_offset_is_the_brokers_to_give(self) -> None:
        refused(altered(batch("a"), base_offset=7), InvalidRecord, "base offset")

    @pytest.mark.parametrize(
        "fields",
        [
            {"record_count": 3},
            {"record_count": 1},
            {"record_count": 0},
            {"record_count": -1, "last_offset_delta": -2},
            {"record_count": 0, "last_offset_delta": -1},
            {"last_offset_delta": 5},
            {"last_offset_delta": -1},
        ],
    )
    def test_count_and_last_offset_have_to_agree(self, fields: dict[str, int]) -> None:
        refused(altered(batch("a", "b"), **fields), InvalidRecord, "records and last offset delta")

    def test_control_records_are_not_for_clients(self) -> None:
        refused(batch("a", control=True), InvalidRecord, "control")

    def test_a_producer_id_needs_a_sequence(self) -> None:
        refused(batch("a", producer_id=5, producer_epoch=0), InvalidRecord, "base sequence -1")

    @pytest.mark.parametrize("codec", [5, 6, 7])
    def test_a_codec_that_nobody_has_is_refused(self, codec: int) -> None:
        refused(altered(batch("a"), attributes=codec), UnsupportedCompressionType)


class TestSize:
    def test_the_limit_itself_is_allowed(self) -> None:
        data = batch("a" * 100)
        check(data, max_message_bytes=str(len(data)))
        refused(data, MessageTooLarge, f"{len(data)} bytes", max_message_bytes=str(len(data) - 1))

    def test_size_is_looked_at_before_the_checksum_is_computed(self) -> None:
        refused(altered(batch("a" * 100), crc=1), MessageTooLarge, max_message_bytes="100")


class TestTimestamps:
    def test_log_append_time_is_not_the_clients_to_claim(self) -> None:
        refused(batch("a", log_append_time=NOW), InvalidTimestamp, "LogAppendTime")
        refused(batch("a", log_append_time=NOW), InvalidTimestamp, message_timestamp_type="LogAppendTime")

    def test_by_default_an_hour_ahead_is_allowed_and_any_past(self) -> None:
        check(batch("a", time=0))
        check(batch("a", time=NOW + HOUR))
        refused(batch("a", time=NOW + HOUR + 1), InvalidTimestamp)

    def test_the_oldest_allowed_is_a_setting(self) -> None:
        check(batch("a", time=NOW - 1000), message_timestamp_before_max_ms="1000")
        refused(batch("a", time=NOW - 1001), InvalidTimestamp, message_timestamp_before_max_ms="1000")

    def test_the_newest_allowed_is_a_setting(self) -> None:
        check(batch("a", time=NOW + 1000), message_timestamp_after_max_ms="1000")
        refused(batch("a", time=NOW + 1001), InvalidTimestamp, message_timestamp_after_max_ms="1000")

    def test_records_without_a_timestamp_have_none_to_be_wrong(self) -> None:
        check(batch("a", time=-1), message_timestamp_before_max_ms="1000")

    def test_under_log_append_time_the_clients_clock_does_not_matter(self) -> None:
        check(batch("a", time=NOW + 99 * HOUR), message_timestamp_type="LogAppendTime")
        check(batch("a", time=5), message_timestamp_type="LogAppendTime", message_timestamp_before_max_ms="1")
