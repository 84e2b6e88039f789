"""Kafka's DelayedFetch: reads the partitions of a Fetch in turn, waits if there are too few bytes, and
answers.

Common rules of full fetches (:mod:`kgw_core.api.fetch_full`) and of fetches of a session
(:mod:`kgw_core.api.fetch_incremental`):

- The answer has whole batches only. It keeps the max_bytes of the response and of each partition, but the
  first batch of the first partition with records is returned even if it is larger (KIP-74).
- If there are fewer than min_bytes, no partition failed, and max_wait is not over, the answer waits for
  appends to the partitions, and then reads again. As in Kafka an unknown topic does not end the wait, unless
  there is no other topic: a client that keeps asking for it would ask all the time. A topic that was created
  again ends the wait, as its id is not the client's.
- Truncation detection (KIP-595): an offset past the end of the client's last fetched epoch is answered with
  that end, if the log knows it. It knows only its own epoch.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from typing import TypeVar

import anyio.lowlevel

from kgw_core.api.large import STEP
from kgw_core.api.partitions import find_log, leader_of
from kgw_core.broker import RequestContext
from kgw_core.errors import (
    FencedLeaderEpoch,
    InconsistentTopicId,
    KafkaError,
    NotLeaderOrFollower,
    OffsetOutOfRange,
    UnknownTopicOrPartition,
)
from kgw_core.fetching.part import Part
from kgw_core.fetching.sessions import LARGE
from kgw_core.log.partition import PartitionLog
from kgw_core.log.waiting import WaitingFetch
from kgw_core.pending import Pending
from kgw_core.spi.storage import Run
from kgw_core.steps import at_once, taking_turns
from kgw_core.wire import Buffer
from kgw_core.wire.messages.fetch import (
    AbortedTransaction,
    EpochEndOffset,
    FetchPartition,
    FetchRequest,
    FetchResponse,
    LeaderIdAndEpoch,
    NodeEndpoint,
    PartitionData,
)

T = TypeVar("T")

PARTS = LARGE
"""A fetch with more parts is read in steps."""
BY_ID = 13
LEADERS = 16
READ_COMMITTED = 1


class Fetch:
    """One Fetch request. ``_looked`` are the parts of the last read, ``_answers`` their answers."""

    __slots__ = (
        "_answers",
        "_budget",
        "_context",
        "_hurry",
        "_least",
        "_left",
        "_looked",
        "_put_aside",
        "_readable",
        "_request",
        "_total",
    )

    def __init__(self, request: FetchRequest, context: RequestContext) -> None:
        self._request = request
        self._context = context
        self._budget = min(request.max_bytes, context.broker.config.limits.fetch_max_bytes)
        self._least = min(request.min_bytes, self._budget)  # there are never more than max_bytes
        self._put_aside: Callable[[Part], object] | None = None  # called with parts that are idle

    def _begin(self) -> Collection[Part]:
        """Begin a read. Return the parts in the order of reading."""
        self._total = 0  # bytes read
        self._left = self._budget
        self._hurry = False  # whether a part has an error or a diverging epoch
        self._readable = False  # whether there is a partition to wait for
        self._looked: list[Part] = []
        self._answers: list[PartitionData] = []
        return self._order()

    # -- for the subclasses

    @property
    def _many(self) -> bool:
        """Whether there are so many parts that they are read in steps."""
        raise NotImplementedError

    def _order(self) -> Collection[Part]:
        """The parts in the order of reading."""
        raise NotImplementedError

    def _response(self) -> FetchResponse:
        """The answer of the last read."""
        raise NotImplementedError

    async def _prepare(self) -> None:
        """The preparation of a fetch with very many parts."""

    async def _response_in_steps(self) -> FetchResponse:
        """The answer, made in steps if there are very many parts."""
        return self._response()

    # -- the ways to an answer

    def start(self) -> FetchResponse | Pending[FetchResponse] | None:
        """Read at once, and wait if there are too few bytes; None if the read itself has to wait."""
        if self._many or self._read_now(self._begin()) is not None:
            return None
        if self.satisfied:
            return self._response()
        pending: Pending[FetchResponse] = Pending()
        self._answers = []  # the wait needs no data of the store
        waiting = self._wait(
            lambda: self._complete(pending), [part.log for part in self._order() if part.log is not None]
        )
        pending.on_abandon = waiting.leave
        return pending

    def _complete(self, pending: Pending[FetchResponse]) -> None:
        try:
            if not self._many and self._read_now(self._begin()) is None:
                pending.resolve(self._response())
            else:
                self._context.broker.spawn(self._complete_slowly(pending))
        except Exception as error:
            pending.fail(error)

    async def _complete_slowly(self, pending: Pending[FetchResponse]) -> None:
        try:
            async with self._room_for_answer():
                await self._read()
                pending.resolve(await self._response_in_steps())
        except Exception as error:
            pending.fail(error)

    def _room_for_answer(self) -> AbstractAsyncContextManager[None]:
        """Bytes of the budget of all answers that are read from stores, held until this answer is sent."""
        most = self._budget
        if not self._many:
            most = min(most, sum(max(part.asked.partition_max_bytes, 1) for part in self._order()))
        return self._context.broker.logs.answers.hold(max(most, 1))

    async def run(self, answer: Pending[FetchResponse]) -> None:
        """The same for any store. It ends without an answer if the client disconnects."""
        more: Pending[bool] = Pending()
        answer.on_abandon = lambda: more.resolve(False)
        waiting: WaitingFetch | None = None
        try:
            await self._prepare()
            async with self._room_for_answer():
                await self._read()
                while not self.satisfied:
                    if waiting is None:
                        waiting = self._wait(lambda: more.resolve(True), ())
                    else:
                        waiting.missing = max(self._least - self._total, 1)
                    # A log that has grown before it was watched wakes nobody, so it is looked for afterwards.
                    await self._in_steps(waiting.watching(self._logs()))
                    if waiting.over or not await self._in_steps(self._outrun()):
                        break
                    await self._read()
                else:
                    answer.resolve(await self._response_in_steps())
                    return
                self._answers = []  # the wait needs no data of the store
            if not await more.wait():
                return
            async with self._room_for_answer():
                await self._read()
                answer.resolve(await self._response_in_steps())
        except Exception as error:
            answer.fail(error)
        finally:
            if waiting is not None:
                waiting.leave()

    async def _in_steps(self, steps: Generator[None, None, T]) -> T:
        return await taking_turns(steps, STEP) if self._many else at_once(steps)

    def _logs(self) -> Iterable[PartitionLog]:
        """The logs to wait for."""
        return (part.log for part in list(self._order()) if part.log is not None)

    def _outrun(self) -> Generator[None, None, bool]:
        """Whether a log has grown, or was closed, while others were read. Then nothing would wake the
        fetch."""
        read: dict[Part, int] = {}
        for part, answer in zip(self._looked, self._answers, strict=True):
            read[part] = answer.high_watermark
            yield
        for part in list(self._order()):
            log = part.log
            if log is not None and (not log.ready or log.high_watermark > read.get(part, part.quiet)):
                return True
            yield
        return False

    @property
    def satisfied(self) -> bool:
        """Whether the last read has enough bytes, or something to answer at once."""
        request = self._request
        return (
            self._total >= self._least
            or request.max_wait_ms <= 0
            or self._hurry
            or not self._readable
            or self._context.broker.draining
        )

    def _wait(self, complete: Callable[[], object], logs: Collection[PartitionLog]) -> WaitingFetch:
        """Call ``complete()`` when the logs have enough bytes, or max_wait is over."""
        broker = self._context.broker.logs
        return WaitingFetch(
            logs,
            max(self._least - self._total, 1),
            self._request.max_wait_ms / 1000,
            complete,
            broker.clock,
            broker.purgatory,
        )

    # -- reading

    def _read_now(self, parts: Iterable[Part]) -> Part | None:
        """Read the changed ones of ``parts`` from memory, in turn. Return the first part whose log has to be
        opened, or whose store has to be awaited; None if there is none."""
        put_aside = self._put_aside
        for part in parts:
            log = part.log
            if (  # part.is_idle(), inlined for speed
                log is not None
                and log.high_watermark == part.quiet
                and log.start == part.sent_start
                and log.leader_epoch == part.epoch
                and log.ready
            ):
                self._readable = True
                if put_aside is not None:
                    put_aside(part)
                continue
            log = self._look(part)
            if log is None:
                continue
            if not log.ready:
                return part
            asked = part.asked
            try:
                if not self._diverges(part, log):
                    most = self._room(asked, log)
                    runs = log.read_now(asked.fetch_offset, most) if most >= 0 else ()
                    if runs is None:
                        return part
                    self._fill(part, log, runs)
            except Exception as error:
                self._fail(part, log, error)
        return None

    async def _read(self) -> None:
        """The same for any store, and for very many parts."""
        parts = list(self._begin())
        for first in range(0, len(parts), STEP):
            if first:
                await anyio.lowlevel.checkpoint()
            step = iter(parts[first : first + STEP])
            while (part := self._read_now(step)) is not None:
                await self._read_part(part)

    async def _read_part(self, part: Part) -> None:
        """Read a part whose log is found: open the log, and await the store."""
        log, asked = part.log, part.asked
        assert log is not None
        try:
            await log.open()
            if not self._diverges(part, log):
                most = self._room(asked, log)
                runs = await log.read(asked.fetch_offset, most) if most >= 0 else ()
                self._fill(part, log, runs)
        except Exception as error:
            self._fail(part, log, error)

    def _look(self, part: Part) -> PartitionLog | None:
        """The part's log, or None after answering with an error."""
        self._looked.append(part)
        log = part.log
        if log is None or part.state is None or part.state.deleted or not log.ready:
            try:
                part.log = log = self._find(part)
            except KafkaError as error:
                part.log = None
                found = self._context.broker.catalog.by_key.get(part.topic)
                part.state = found or part.state
                if isinstance(error, NotLeaderOrFollower) and found is not None:
                    self._fail(part, found.partitions[part.asked.partition], error)
                    return None
                answer = self._error(part, error)
                self._answers.append(answer)
                if isinstance(error, InconsistentTopicId):
                    answer.aborted_transactions = None
                    self._hurry = True
                return None
        self._readable = True
        return log

    def _find(self, part: Part) -> PartitionLog:
        context, topic, before = self._context, part.topic, part.state
        if before is not None and before.deleted and isinstance(topic, bytes):
            # as in Kafka, the name that was found for the id stays
            if before.name in context.broker.catalog.by_name:
                raise InconsistentTopicId(f"topic '{before.name}' no longer has the id {topic.hex()}")
            raise UnknownTopicOrPartition(f"topic '{before.name}' was deleted")
        log = find_log(context, topic, part.asked.partition)
        part.state = log.topic
        return log

    def _room(self, asked: FetchPartition, log: PartitionLog) -> int:
        """How many bytes may be read; -1 if there is no room and the offset is valid."""
        most = min(self._left, asked.partition_max_bytes)
        if most > 0:
            return most
        if not self._total or not log.start <= asked.fetch_offset <= log.high_watermark:
            return 0
        return -1

    def _diverges(self, part: Part, log: PartitionLog) -> bool:
        """Compare the client's epochs with the log's. If they diverge, answer and return True."""
        asked = part.asked
        if asked.current_leader_epoch >= 0:
            log.check_epoch(asked.current_leader_epoch)
        fetched = asked.last_fetched_epoch
        if fetched < 0:
            return False
        if fetched > log.leader_epoch:
            raise OffsetOutOfRange(f"the epoch fetched last, {fetched}, is newer than {log.leader_epoch}")
        if fetched < log.leader_epoch or asked.fetch_offset <= log.high_watermark:
            return False
        self._fill(part, log, ())
        self._answers[-1].diverging_epoch = EpochEndOffset(fetched, log.high_watermark)
        self._hurry = True
        return True

    def _fill(self, part: Part, log: PartitionLog, runs: Sequence[Run]) -> None:
        """Answer with the runs that were read, if there is room for them."""
        records: bytes | list[Buffer] = b""
        if runs:
            records = [run.data for run in runs]
            size = sum(map(len, records))
            if self._total and size > min(self._left, part.asked.partition_max_bytes):
                records = b""  # only the first batch may be larger than the room
            else:
                self._total += size
                self._left -= size
        part.epoch = log.leader_epoch
        aborted: list[AbortedTransaction] | None = (
            [] if self._request.isolation_level == READ_COMMITTED else None
        )
        self._answers.append(
            PartitionData(
                part.asked.partition,
                0,
                log.high_watermark,
                log.last_stable_offset,
                log.start,
                None,
                None,
                None,
                aborted,
                -1,
                records,
            )
        )

    # -- errors

    def _fail(self, part: Part, log: PartitionLog, error: Exception) -> None:
        answer = self._error(part, error)
        answer.aborted_transactions = None  # as without transactions
        self._answers.append(answer)
        self._hurry = True
        if self._context.version >= LEADERS and isinstance(error, NotLeaderOrFollower | FencedLeaderEpoch):
            answer.current_leader = LeaderIdAndEpoch(*leader_of(log, self._context.broker.placement))

    def _error(self, part: Part, error: Exception) -> PartitionData:
        name = part.topic if isinstance(part.topic, str) else part.topic.hex()
        if part.state is not None:
            name = part.state.name
        code = self._context.caught(error, f"{name}-{part.asked.partition}").code
        return PartitionData(part.asked.partition, code, -1, records=b"")

    def _endpoints(self) -> list[NodeEndpoint]:
        """The addresses of the leaders in the answers."""
        if self._context.version < LEADERS or not self._hurry:
            return []
        named = [answer.current_leader for answer in self._answers]
        leaders = {leader.leader_id for leader in named if leader is not None}
        if not leaders:
            return []
        nodes = self._context.broker.placement.nodes(self._context.client)
        return [NodeEndpoint(*node) for node in nodes if node.id in leaders]
