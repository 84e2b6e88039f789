"""One partition of a Fetch, and what the client knows of it (Kafka's CachedPartition)."""

from __future__ import annotations

from kgw_core.log.partition import PartitionLog
from kgw_core.topics.catalog import TopicState
from kgw_core.wire.messages.fetch import FetchPartition, PartitionData


class Part:
    """One partition of a fetch: what is asked and, in a session, what the client knows.

    ``state`` and ``log`` are those of the topic, or None until it is found. ``sent_end`` and ``sent_start``
    are the high watermark and log start offset in the last answer with this partition. After an error
    ``sent_end`` is -1, so that the next answer has the partition again.

    While ``quiet`` equals the log's high watermark, there is nothing to read or to send, unless the log's
    start or leader epoch differ from ``sent_start`` and ``epoch``. With -1 the partition has to be read.
    """

    __slots__ = ("asked", "epoch", "log", "quiet", "sent_end", "sent_start", "state", "topic")

    def __init__(self, topic: str | bytes, asked: FetchPartition) -> None:
        self.topic = topic
        self.asked = asked
        self.state: TopicState[PartitionLog] | None = None
        self.log: PartitionLog | None = None
        self.sent_end = -1
        self.sent_start = -1
        self.quiet = -1
        self.epoch = -1

    def is_idle(self) -> bool:
        """Whether there is nothing to read or to send."""
        log = self.log
        return (
            log is not None
            and log.high_watermark == self.quiet
            and log.start == self.sent_start
            and log.leader_epoch == self.epoch
            and log.ready
        )

    def is_news(self, answer: PartitionData) -> bool:
        """Whether ``answer`` is new to the client: it has data, an error or other offsets."""
        return (
            bool(answer.records)
            or answer.error_code != 0
            or answer.high_watermark != self.sent_end
            or answer.log_start_offset != self.sent_start
            or answer.diverging_epoch is not None
        )

    def sent(self, answer: PartitionData) -> None:
        """Remember that the client knows ``answer``."""
        end = answer.high_watermark
        self.sent_start = answer.log_start_offset
        if answer.error_code or answer.records or answer.diverging_epoch is not None:
            self.sent_end = -1 if answer.error_code else end
            self.quiet = -1
        else:
            self.sent_end = end
            self.quiet = end if self.asked.fetch_offset == end else -1
