"""A tiny durable store for the kit's own tests: one file of frames a partition, synced on every append.

A frame is its length, the CRC of its body, and the body; the body is an operation and its arguments. All
state is what the frames say, read again at opening; a torn frame at the end is cut off.
"""

from __future__ import annotations

import os
import pickle
import struct
import zlib
from collections.abc import Sequence
from pathlib import Path
from uuid import UUID

import anyio
import anyio.to_thread

from kgw_core.errors import OffsetOutOfRange, TopicAlreadyExists, UnknownTopicOrPartition
from kgw_core.records.runs import up_to
from kgw_core.records.segments import Segments
from kgw_core.spi.context import StoreContext
from kgw_core.spi.storage import (
    Batch,
    Bounds,
    Capabilities,
    Fenced,
    LogStore,
    OffsetConflict,
    Run,
    Topic,
    TopicConflict,
    TopicPartition,
)

FRAME = struct.Struct(">II")


class FileLog:
    """One partition: a file to write to, segments to read from."""

    def __init__(self, path: Path) -> None:
        self.segments = Segments()
        self.epoch = 0
        self.file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
        data = path.read_bytes()
        at = 0
        while at + FRAME.size <= len(data):
            length, crc = FRAME.unpack_from(data, at)
            body = data[at + FRAME.size : at + FRAME.size + length]
            if len(body) < length or zlib.crc32(body) != crc:
                break
            self.apply(*pickle.loads(body))
            at += FRAME.size + length
        os.ftruncate(self.file, at)

    def apply(self, operation: str, *arguments: object) -> None:
        if operation == "append":
            for batch in arguments:
                self.segments.append(*batch)  # type: ignore[misc]
        elif operation == "fence":
            self.epoch = max(self.epoch, *arguments)  # type: ignore[type-var,assignment,call-overload]
        else:
            getattr(self.segments, operation)(*arguments)

    async def write(self, operation: str, *arguments: object) -> None:
        await anyio.to_thread.run_sync(self.write_frame, operation, *arguments)
        self.apply(operation, *arguments)

    def write_frame(self, operation: str, *arguments: object) -> None:
        body = pickle.dumps((operation, *arguments))
        size = os.fstat(self.file).st_size
        try:
            os.write(self.file, FRAME.pack(len(body), zlib.crc32(body)) + body)
            self.sync()
        except OSError:
            os.ftruncate(self.file, size)
            raise

    def sync(self) -> None:
        os.fdatasync(self.file)


class FileStore(LogStore):
    """Topics in one file, each partition in one of its own, named by the topic's id."""

    name = "file"
    log_class = FileLog

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.path = path
        self._topics: dict[UUID, Topic] = {}
        self._logs: dict[TopicPartition, FileLog] = {}
        self._saving = anyio.Lock()

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return Capabilities(durable=True, fences=True)

    async def open(self, context: StoreContext | None = None) -> None:
        await anyio.to_thread.run_sync(self._load)

    async def close(self) -> None:
        for log in self._logs.values():
            os.close(log.file)
        self._logs.clear()

    def _load(self) -> None:
        self.path.mkdir(exist_ok=True, parents=True)
        if (self.path / "topics").exists():
            self._topics = pickle.loads((self.path / "topics").read_bytes())
        for topic in self._topics.values():
            self._open_logs(topic)

    async def _save(self) -> None:
        async with self._saving:
            await anyio.to_thread.run_sync(self._write_topics, pickle.dumps(self._topics))

    def _write_topics(self, data: bytes) -> None:
        (self.path / "topics.new").write_bytes(data)
        os.replace(self.path / "topics.new", self.path / "topics")

    def _open_logs(self, topic: Topic) -> None:
        for partition in range(topic.partitions):
            tp = TopicPartition(topic.name, topic.id, partition)
            if tp not in self._logs:
                self._logs[tp] = self.log_class(self.path / f"{topic.id}-{partition}")

    async def topics(self) -> Sequence[Topic]:
        return list(self._topics.values())

    async def create_topic(self, topic: Topic) -> None:
        if any(known.name == topic.name for known in self._topics.values()):
            raise TopicAlreadyExists(topic.name)
        await self._put_topic(topic)

    async def update_topic(self, topic: Topic, before: Topic) -> None:
        found = self._topics.get(topic.id)
        if found is None:
            raise UnknownTopicOrPartition(str(topic.id))
        if found != before:
            raise TopicConflict(found)
        await self._put_topic(topic)

    async def _put_topic(self, topic: Topic) -> None:
        self._topics[topic.id] = topic
        await anyio.to_thread.run_sync(self._open_logs, topic)
        await self._save()

    async def delete_topic(self, topic_id: UUID) -> None:
        topic = self._topics.pop(topic_id)
        await self._save()
        for partition in range(topic.partitions):
            log = self._logs.pop(TopicPartition(topic.name, topic_id, partition))
            os.close(log.file)

    def _log(self, tp: TopicPartition) -> FileLog:
        try:
            return self._logs[tp]
        except KeyError:
            raise UnknownTopicOrPartition(str(tp)) from None

    async def append(self, tp: TopicPartition, batches: Sequence[Batch], epoch: int = 0) -> Sequence[int]:
        log = self._fenced(tp, epoch)
        if batches[0].base_offset != log.segments.end:
            raise OffsetConflict(batches[0].base_offset, log.segments.end)
        plain = [tuple(b._replace(data=bytes(b.data), stable=True)) for b in batches]
        await log.write("append", *plain)
        return [batch.base_offset for batch in batches]

    def _fenced(self, tp: TopicPartition, epoch: int) -> FileLog:
        log = self._log(tp)
        if epoch < log.epoch:
            raise Fenced(tp, log.epoch)
        return log

    async def fence(self, tp: TopicPartition, epoch: int) -> Bounds:
        log = self._fenced(tp, epoch)
        if epoch > log.epoch:
            log.epoch = epoch  # at once, for what is on its way
            await log.write("fence", epoch)
        return await self.bounds(tp)

    def leader_epoch(self, tp: TopicPartition) -> int:
        return self._log(tp).epoch

    async def read(
        self, tp: TopicPartition, offset: int, max_bytes: int, below: int | None = None
    ) -> Sequence[Run]:
        return up_to(self._log(tp).segments.read(offset, max_bytes), below)

    async def bounds(self, tp: TopicPartition) -> Bounds:
        log = self._log(tp)
        return Bounds(log.segments.start, log.segments.end, log.epoch, log.segments.size)

    async def write_time(self, tp: TopicPartition, offset: int) -> int:
        return self._log(tp).segments.write_time(offset)

    async def trim(self, tp: TopicPartition, before: int, epoch: int = 0) -> None:
        log = self._fenced(tp, epoch)
        if before > log.segments.end:
            raise OffsetOutOfRange(f"{tp} ends at {log.segments.end}")
        await log.write("trim", before)

    async def replace(
        self, tp: TopicPartition, first: int, last: int, batches: Sequence[Batch], epoch: int = 0
    ) -> bool:
        plain = [tuple(b._replace(data=bytes(b.data))) for b in batches]
        await self._fenced(tp, epoch).write("replace", first, last, plain)
        return True
