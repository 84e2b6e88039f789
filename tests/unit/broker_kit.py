"""The kit for the tests of log, api and server: a manual clock, obedient stores, a broker, a client.

Nothing here opens a socket, and nothing sleeps.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from functools import partial
from typing import Any

import anyio
import anyio.lowlevel
from kgw_storage_memory.store import MemoryStore

from kgw_core import wire
from kgw_core.api import registry
from kgw_core.background import Background
from kgw_core.broker import Broker
from kgw_core.budget import Budget
from kgw_core.config import Config, Limits, Listener, Topics
from kgw_core.configs.dynamic import DynamicConfigs
from kgw_core.configs.static import static_level
from kgw_core.events import Client
from kgw_core.features import Features
from kgw_core.groups.service import GroupService
from kgw_core.log.events import CoreEvents
from kgw_core.log.ledger import CountingLedger
from kgw_core.log.manager import LogManager, LogSettings
from kgw_core.log.partition import PartitionLog
from kgw_core.log.producers import Appended
from kgw_core.pending import Pending
from kgw_core.placement import Placement
from kgw_core.producer_ids import ProducerIds
from kgw_core.reconfiguring import reconfigure
from kgw_core.records import HEADER, RecordBatch, build_batch, iter_batches, iter_records, stamp
from kgw_core.server.connection import Connection
from kgw_core.server.dispatch import Dispatcher
from kgw_core.server.responses import Answer
from kgw_core.server.server import Server
from kgw_core.spi.context import StoreContext
from kgw_core.spi.ledger import LedgerContext, OffsetLedger
from kgw_core.spi.storage import (
    Append,
    Batch,
    Bounds,
    Capabilities,
    LogStore,
    Run,
    Topic,
    TopicPartition,
)
from kgw_core.state.memory import MemoryStateStore
from kgw_core.state.promised import PromisedState
from kgw_core.testing.clock import NOW, ManualClock, turns
from kgw_core.testing.faults import FaultyStore
from kgw_core.topics.auto_creation import AutoCreation
from kgw_core.topics.catalog import Catalog, TopicState
from kgw_core.wire.base import Message
from kgw_core.wire.messages.request_header import RequestHeader

# -- stores


class Held:
    """An ``append_many`` that waits for the test."""

    def __init__(self, appends: Sequence[Append]) -> None:
        self.appends = appends
        self._go = anyio.Event()
        self._error: Exception | None = None
        self._landed = True

    @property
    def batches(self) -> list[Batch]:
        return [batch for append in self.appends for batch in append.batches]

    def release(self) -> None:
        """Let it be stored and answered."""
        self._go.set()

    def fail(self, error: Exception, *, landed: bool = False) -> None:
        """Let every append of it fail; ``landed``: after it was stored all the same."""
        self._error, self._landed = error, landed
        self._go.set()

    async def outcomes(self, store: LogStore) -> list[Sequence[int] | Exception]:
        await self._go.wait()
        results = await store.append_many(self.appends) if self._landed else []
        return results if self._error is None else [self._error] * len(self.appends)


class SlowStore(FaultyStore):
    """A memory store that makes everybody wait. ``held`` are the appends under way, which the test ends.

    With ``patient`` off, appends pass at once (the store still is not immediate).
    """

    name = "slow"

    def __init__(self, inner: LogStore | None = None) -> None:
        super().__init__(inner or MemoryStore())
        self.held: list[Held] = []
        self.patient = True

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return Capabilities(commit_scope="store")

    async def append_many(self, appends: Sequence[Append]) -> list[Sequence[int] | Exception]:
        if not self.patient:
            return await self.inner.append_many(appends)
        held = Held(appends)
        self.held.append(held)
        try:
            return await held.outcomes(self.inner)
        finally:
            self.held.remove(held)

    async def arrived(self, count: int = 1) -> Held:
        """Wait until ``count`` appends are under way; return the last."""
        for _ in range(100):
            if len(self.held) >= count:
                return self.held[-1]
            await anyio.lowlevel.checkpoint()
        raise AssertionError(f"{len(self.held)} appends are under way, not {count}")


class NumberingStore(SlowStore):
    """Takes batches with base offset -1 and gives them the next offsets, ``skip`` further on."""

    name = "numbering"
    skip = 0

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        return Capabilities(numbers_records=True, commit_scope="store")

    async def append_many(self, appends: Sequence[Append]) -> list[Sequence[int] | Exception]:
        results: list[Sequence[int] | Exception] = []
        for tp, batches, _ in appends:
            base = (await self.inner.bounds(tp)).end
            numbered: list[Batch] = []
            for batch in batches:
                assert batch.base_offset == -1
                data = bytearray(batch.data)
                assert data[:8] == bytes(8)
                data[:8] = (base + sum(each.span for each in numbered)).to_bytes(8, "big")
                numbered.append(
                    Batch(int.from_bytes(data[:8], "big"), *batch[1:3], data, True, batch.write_time)
                )
            results.append(await self.inner.append(tp, numbered))
        return results


class UncheckedStore(MemoryStore):
    """Has batches from elsewhere, which nobody has looked into: all that comes by ``put``."""

    name = "unchecked"

    def __init__(self) -> None:
        super().__init__()
        self.unchecked: dict[TopicPartition, int] = {}

    async def put(self, tp: TopicPartition, *batches: bytes | bytearray, write_time: int = NOW) -> None:
        """Take these as they are, as if they were written at ``write_time`` (ms; -1: not known)."""
        for data in batches:
            found = RecordBatch(data)
            end = (await super().bounds(tp)).end
            stamp(data, end, 0)  # type: ignore[arg-type]
            span = found.last_offset_delta + 1
            await self.append(tp, [Batch(end, span, found.max_timestamp, bytes(data), True, write_time)])
            self.unchecked[tp] = end + span

    async def bounds(self, tp: TopicPartition) -> Bounds:
        return (await super().bounds(tp))._replace(unchecked=self.unchecked.get(tp, 0))


# -- batches

NO_TIMES = (-1, -2, -62_135_596_800_000, -(1 << 62))
"""Timestamps that are none: unknown, before 1970, Go's zero time, and one that no clock ever told."""


def records(*values: bytes | str, key: bytes | None = b"k", time: int = NOW) -> list[tuple[Any, ...]]:
    """Records of these values, for :func:`build_batch`."""
    return [(key, value if isinstance(value, bytes) else value.encode(), time) for value in values]


def batch(*values: bytes | str, key: bytes | None = b"k", time: int = NOW, **options: Any) -> bytearray:
    """A batch of records of these values, as a client sends it."""
    return build_batch(records(*(values or ("v",)), key=key, time=time), **options)


def numbered(producer_id: int, sequence: int, count: int = 1, epoch: int = 0, value: str = "v") -> bytearray:
    """A batch of an idempotent producer."""
    return batch(
        *[f"{value}{sequence + index}" for index in range(count)],
        producer_id=producer_id,
        producer_epoch=epoch,
        base_sequence=sequence,
    )


HEADER_FIELDS = (
    "base_offset",
    "batch_length",
    "leader_epoch",
    "magic",
    "crc",
    "attributes",
    "last_offset_delta",
    "base_timestamp",
    "max_timestamp",
    "producer_id",
    "producer_epoch",
    "base_sequence",
    "record_count",
)


def altered(data: bytearray, **fields: int) -> bytearray:
    """``data`` with these header fields, and a right CRC unless ``crc`` is given."""
    from crc32c import crc32c

    values = dict(zip(HEADER_FIELDS, HEADER.unpack_from(data), strict=True)) | fields
    HEADER.pack_into(data, 0, *values.values())
    if "crc" not in fields:
        data[17:21] = crc32c(memoryview(data)[21:]).to_bytes(4, "big")
    return data


def view(data: bytes | bytearray) -> memoryview:
    """A writable view of a copy."""
    return memoryview(bytearray(data))


def values_of(runs: Sequence[Run] | Any) -> list[bytes | None]:
    """The values of all records in runs, or in the ``records`` field of a Fetch answer."""
    parts: list[Any] = [runs] if isinstance(runs, bytes | memoryview) else list(runs or ())
    data = [part.data if isinstance(part, Run) else part for part in parts]
    return [record.value for each in data for found in iter_batches(each) for record in iter_records(found)]


def batches_of(runs: Sequence[Run]) -> list[RecordBatch]:
    found = [each for run in runs for each in iter_batches(run.data)]
    for each in found:
        each.check_crc()
    return found


# -- the broker


class Kit:
    """A broker without sockets: parts as a gateway puts them together, and short ways to ask it."""

    def __init__(self, store: LogStore, config: Config, ledger: OffsetLedger | None = None) -> None:
        self.store = store
        self.config = config
        self.clock = ManualClock()
        self.ledger = ledger or CountingLedger()
        self.tasks: set[asyncio.Task[Any]] = set()
        self.failures: list[BaseException] = []
        """Errors of background tasks. It has to stay empty."""
        self.logs = LogManager(self.log_settings(max_inflated=config.limits.max_inflated_batch))
        self.catalog: Catalog[PartitionLog] = Catalog(
            store,
            broker_defaults=config.topics.defaults,
            max_topics=config.limits.max_topics,
            max_partitions=config.limits.max_partitions,
            log_factory=self.logs.make_log,
        )
        self.catalog.on_deleted(self.logs.topic_deleted)
        self.catalog.on_updated(self.logs.topic_updated)
        self.events = CoreEvents()
        background = self.logs.background
        self.events.listen(
            self.catalog.partition, background.chore("taking over topics of others", self.catalog.refresh).due
        )
        self.context = StoreContext(config.node_id, background, events=self.events)
        self.state = PromisedState(MemoryStateStore())
        self.broker = Broker(
            config=config,
            configs=DynamicConfigs(self.state, self.spawn, str(config.node_id), static_level(config), 20.0),
            features=Features(1),
            state=self.state,
            cluster_id="the-cluster",
            catalog=self.catalog,
            auto_creation=AutoCreation(self.catalog, config.topics.num_partitions, self.clock),
            logs=self.logs,
            groups=GroupService(config.groups, self.state, self.clock, self.spawn, self.catalog.id_of),
            placement=Placement(config.node_id, config.rack),
            producer_ids=ProducerIds(MemoryStateStore(), self.clock),
            clock=self.clock,
            spawn=self.spawn,
        )
        self.broker.groups.coordinator.groups.loading = False
        self.dispatcher = Dispatcher(self.broker, registry.load())
        self.server = a_server(self.dispatcher, config.limits)
        self.broker.configs.apply = partial(
            reconfigure, config, self.broker.configs, self.catalog, self.logs, self.server
        )
        self.client = a_client()
        self._correlation = 0

    def spawn(self, work: Coroutine[Any, Any, Any]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[Any]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            self.failures.append(task.exception())  # type: ignore[arg-type]

    def start_writers(self, count: int = 2) -> None:
        for _ in range(count):
            self.spawn(self.logs.writers.run())

    async def close(self) -> None:
        for task in list(self.tasks):
            task.cancel()
        await turns()
        assert self.failures == []

    # -- logs

    def log_settings(self, **others: Any) -> LogSettings:
        """The settings of a log manager on the store of this broker."""
        return LogSettings(
            store=self.store,
            ledger=self.ledger,
            background=Background(self.clock, self.spawn),
            spawn=self.spawn,
            **others,
        )

    def change_logs(self, **parts: Any) -> None:
        """Change these parts of the context that all logs have."""
        for name, part in parts.items():
            object.__setattr__(self.logs.context, name, part)  # it is frozen

    def limit_budget(self, limit: int) -> Budget:
        """Let appends that wait take about ``limit`` bytes. Return the budget, which all logs share."""
        budget = self.logs.context.budget
        budget.__init__(limit)  # type: ignore[misc] # logs that were made have this object
        return budget

    async def topic(self, name: str = "t", partitions: int = 1, **configs: str) -> TopicState[PartitionLog]:
        """Make a topic; configs with '_' for '.'."""
        return await self.catalog.create(
            name, partitions, {key.replace("_", "."): value for key, value in configs.items()}
        )

    async def log(self, name: str = "t", partition: int = 0, **configs: str) -> PartitionLog:
        """The open log of a partition of a topic, which is made if it is not there."""
        if name not in self.catalog.by_name:
            await self.topic(name, partition + 1, **configs)
        log = self.catalog.by_name[name].partitions[partition]
        await log.open()
        return log

    # -- requests

    def frame(self, request: Message, version: int, client_id: str | None = "tester") -> bytearray:
        """The request as a client sends it, without its length."""
        api = api_of(request)
        self._correlation += 1
        return a_frame(api.key, version, self._correlation, request, client_id)

    def start(
        self, request: Message, version: int, *, client: Client | None = None, stable: bool = False
    ) -> Answer | Pending[Answer]:
        """Hand the request to the dispatcher. Unless it is stable, its bytes are lost after the call."""
        frame = memoryview(self.frame(request, version))
        try:
            return self.dispatcher.start(frame, client or self.client, stable)
        finally:
            if not stable:
                frame[:] = b"\xee" * len(frame)

    async def ask(self, request: Message, version: int, **options: Any) -> Any:
        """The response, waited for."""
        answer = self.start(request, version, **options)
        if isinstance(answer, Pending):
            with anyio.fail_after(5):
                answer = await answer.wait()
        return self.decode(answer, request, version)

    def decode(self, answer: Any, request: Message, version: int) -> Any:
        """The response in a frame; checks its length and correlation id."""
        if answer is None:
            return None
        api = api_of(request)
        data = answer if isinstance(answer, bytes) else b"".join(answer)
        assert int.from_bytes(data[:4], "big") == len(data) - 4
        at = 8
        if wire.response_header_version(api.key, version) == 1:
            assert data[8] == 0
            at = 9
        return wire.decode(wire.message(api.response), version, data[at:])


def api_of(request: Message) -> wire.index.Api:
    name = type(request).__name__.removesuffix("Request")
    return next(api for api in wire.index.APIS.values() if api.name == name)


def a_frame(
    key: int, version: int, correlation: int, body: Message | bytes, client_id: str | None = "tester"
) -> bytearray:
    header = RequestHeader(key, version, correlation, client_id)
    out = bytearray(wire.encode(header, wire.request_header_version(key, version)))
    out += body if isinstance(body, bytes) else wire.encode(body, version)
    return out


def a_client(number: int = 1) -> Client:
    return Client(number, "192.0.2.7", 40000 + number, "PLAINTEXT", ("gateway.test", 9092))


async def a_kit(
    store: LogStore | None = None,
    *,
    limits: Limits | None = None,
    ledger: OffsetLedger | None = None,
    **topics: Any,
) -> Kit:
    """A kit on a store (memory, if none is given), with settings of ``[limits]`` and ``[topics]``."""
    kit = Kit(store or MemoryStore(), Config(limits=limits or Limits(), topics=Topics(**topics)), ledger)
    context = kit.context
    await kit.ledger.open(
        LedgerContext(
            context.node_id, context.background, store=kit.store, state=kit.state, events=kit.events
        )
    )
    await kit.catalog.load()
    return kit


def done(pending: Appended | Pending[Appended]) -> Appended:
    """The outcome of an append that has to be over."""
    if isinstance(pending, Pending):
        assert pending.done
        return pending.result()
    return pending


def waiting(outcome: Any) -> Pending[Any]:
    """An outcome that has to be open still."""
    assert isinstance(outcome, Pending)
    assert not outcome.done
    return outcome


# -- connections


class FakeTransport(asyncio.Transport):
    """Keeps the written bytes. Without ``reads`` it is like a client that does not read."""

    def __init__(self) -> None:
        super().__init__()
        self.protocol: Connection | None = None
        self.sent = bytearray()
        self.unsent = bytearray()
        self.writes = 0
        self.client_reads = True
        self.reading = True
        self.closed = False
        self.aborted = False
        self.high = 64 << 10
        self._paused = False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.7", 40001), "sockname": ("192.0.2.1", 9092)}.get(name, default)

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.high = high or 0

    def get_write_buffer_size(self) -> int:
        return len(self.unsent)

    def write(self, data: Any) -> None:
        self.writes += 1
        self.unsent += data
        self._move()

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def _move(self) -> None:
        assert self.protocol is not None
        if self.client_reads:
            self.sent += self.unsent
            self.unsent.clear()
        if len(self.unsent) > self.high and not self._paused:
            self._paused = True
            self.protocol.pause_writing()
        elif not self.unsent and self._paused:
            self._paused = False
            self.protocol.resume_writing()
        if self.closed and not self.unsent:
            self._lose()

    def read_all(self) -> None:
        """The client reads again."""
        self.client_reads = True
        self._move()

    def is_reading(self) -> bool:
        return self.reading

    def pause_reading(self) -> None:
        assert not self.closed
        self.reading = False

    def resume_reading(self) -> None:
        assert not self.closed
        self.reading = True

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True
        if not self.unsent:
            self._lose()

    def abort(self) -> None:
        self.closed = self.aborted = True
        self.unsent.clear()
        self._lose()

    def _lose(self) -> None:
        protocol, self.protocol = self.protocol, None
        if protocol is not None:
            asyncio.get_running_loop().call_soon(protocol.connection_lost, None)


class Peer:
    """A client on a fake transport."""

    def __init__(self, server: Server) -> None:
        self.server = server
        self.transport = FakeTransport()
        self.connection = Connection(server, "PLAINTEXT")
        self.transport.protocol = self.connection
        self.connection.connection_made(self.transport)

    def feed(self, data: bytes | bytearray, piece: int = 1 << 30) -> int:
        """Send bytes, at most ``piece`` in one read; return how many were read. What a read brought is
        gone after it, as in the shared buffer."""
        at = 0
        while at < len(data) and self.transport.reading and not self.transport.closed:
            buffer = self.connection.get_buffer(-1)
            size = min(len(buffer), len(data) - at, piece)
            assert size > 0
            buffer[:size] = data[at : at + size]
            at += size
            self.connection.buffer_updated(size)
            self.server.shared[:] = b"\xee" * len(self.server.shared)
        return at

    def send(self, *frames: bytes | bytearray, piece: int = 1 << 30) -> int:
        """Send frames with their lengths in front."""
        return self.feed(b"".join(framed(frame) for frame in frames), piece)

    def answers(self) -> list[tuple[int, bytes]]:
        """Correlation id and the bytes after it, of every whole answer that was sent."""
        data, found, at = bytes(self.transport.sent), [], 0
        while at < len(data):
            size = int.from_bytes(data[at : at + 4], "big")
            assert at + 4 + size <= len(data)
            found.append((int.from_bytes(data[at + 4 : at + 8], "big"), data[at + 8 : at + 4 + size]))
            at += 4 + size
        return found

    @property
    def answered(self) -> list[int]:
        """The correlation ids of the answers, in order."""
        return [correlation for correlation, _ in self.answers()]


def framed(frame: bytes | bytearray) -> bytes:
    return len(frame).to_bytes(4, "big") + frame


def a_server(dispatcher: Dispatcher, limits: Limits | None = None) -> Server:
    server = Server(dispatcher, limits or Limits())
    server._advertised["PLAINTEXT"] = Listener()
    return server
