"""What names a topic and a partition's log."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from uuid import UUID


@dataclass(frozen=True, slots=True)
class Topic:
    """A topic as the store keeps it. ``configs`` holds only what was set, as Kafka's strings."""

    name: str
    id: UUID
    partitions: int
    configs: Mapping[str, str] = field(default_factory=dict)


class TopicPartition:
    """Names one partition's log. Equal by topic id and partition; the name is for people and paths."""

    __slots__ = ("_hash", "partition", "topic", "topic_id")

    def __init__(self, topic: str, topic_id: UUID, partition: int) -> None:
        self.topic = topic
        self.topic_id = topic_id
        self.partition = partition
        self._hash = hash((topic_id, partition))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, TopicPartition):
            return NotImplemented
        return self.partition == other.partition and self.topic_id == other.topic_id

    def __repr__(self) -> str:
        return f"{self.topic}-{self.partition}"
