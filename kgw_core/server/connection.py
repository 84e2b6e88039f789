"""One client's connection: reads frames and sends answers, within limits of memory and time.

Rules:

1. Requests start and answers leave in the order of arrival (:mod:`kgw_core.server.pipeline`).
2. Frames that may not start yet are held. The socket is not read (Kafka mutes the channel) while too many
   requests are held or in flight, or while the client does not read its answers. The frames of all
   connections count against one budget. When it is used up, connections that hold any part of it are not
   read, and a large frame waits for its turn.
3. Small frames are read into a buffer that all connections share, and are gone after the call. A frame that
   did not arrive whole gets memory of its own, which the kernel fills directly
   (:mod:`kgw_core.server.arriving`).
4. The first request, and each frame that has begun, has to arrive within a timeout. The server checks this at
   intervals.
5. A connection closes with a reason in the log, unless the client closed it between requests.
6. After a full buffer of small frames the event loop serves others. libuv would read up to 32 times in a row.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import Protocol, cast

from kgw_core.budget import Budget
from kgw_core.coalescer import Coalescer
from kgw_core.config import Limits
from kgw_core.errors import Unanswerable, forget_frames
from kgw_core.events import Client, shown
from kgw_core.pending import Pending
from kgw_core.records.arena import Arena
from kgw_core.server.arriving import PREFIX, Arriving, read_size, wrong_length
from kgw_core.server.dispatch import Dispatcher
from kgw_core.server.oversized import Follower, Oversized, is_oversized
from kgw_core.server.pipeline import Pipeline
from kgw_core.server.responses import Answer
from kgw_core.wire import Buffer

logger = logging.getLogger("kgw")

_NO_BYTES = memoryview(b"")
SHARED_SIZE = 64 << 10
"""Size of the receive buffer that all connections share, and so the most bytes of one read of small
frames."""


class Host(Protocol):
    """What a connection needs of its server.

    ``shared`` is the receive buffer of all connections, ``arena`` the memory for large frames. Finished
    answers wait in ``coalescer`` while it is open.
    """

    dispatcher: Dispatcher
    limits: Limits
    budget: Budget
    coalescer: Coalescer
    shared: memoryview
    arena: Arena

    def admit(self, connection: Connection, transport: asyncio.Transport) -> str | None:
        """Count the connection and set its client. Return the reason if it is refused."""

    def gone(self, connection: Connection) -> None:
        """The connection is closed."""

    def unread(self, connection: Connection, size: int) -> None:
        """``size`` bytes of answers wait for a client that does not read; 0 if it reads again."""

    def now(self) -> float:
        """The time of timeouts, in seconds."""


class Connection(asyncio.BufferedProtocol):
    """The protocol object of one socket."""

    __slots__ = (
        "_began",
        "_budget",
        "_closing",
        "_draining",
        "_ended",
        "_fresh",
        "_host",
        "_last",
        "_out",
        "_own",
        "_pipeline",
        "_reading",
        "_refusals",
        "_transport",
        "_unsent",
        "_writable",
        "_yielding",
        "active",
        "client",
        "listener",
    )

    def __init__(self, host: Host, listener: str) -> None:
        self._host = host
        self.listener = listener
        self.client: Client = None  # type: ignore[assignment] # set when the connection is made
        self.active = True
        self._transport: asyncio.Transport = None  # type: ignore[assignment] # likewise
        self._budget = host.budget
        limits = host.limits
        self._pipeline = Pipeline(host.budget, limits.max_in_flight_requests, limits.most_entries)
        self._own: Arriving | Oversized | None = None  # the frame that has memory of its own
        self._refusals: deque[Answer] = deque()  # answers to frames that were too large
        self._began = 0.0  # when the frame in _own began, or when reading it was resumed
        self._fresh = True  # no request has come yet
        self._last = 0.0  # when the last check saw activity
        self._out: list[Buffer] = []
        self._unsent = 0  # bytes of answers in the transport at the last check
        self._reading = True
        self._yielding = False  # the event loop serves others before more is read
        self._writable = True
        self._ended = False  # the client has closed its side
        self._draining = False
        self._closing = False

    # -- from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's class is no subclass of it
        self._began = self._last = self._host.now()
        self._transport.set_write_buffer_limits(high=self._host.limits.max_queued_bytes)
        refusal = self._host.admit(self, self._transport)
        if refusal:
            self.close(refusal, logging.WARNING)

    def get_buffer(self, sizehint: int) -> memoryview:
        own = self._own
        if own is None:
            return self._host.shared
        if isinstance(own, Oversized):
            return own.room(self._host.shared)
        return own.memory[own.filled :]

    def buffer_updated(self, size: int) -> None:
        self.active = True
        if self._closing:
            return
        try:
            own = self._own
            if own is None:
                frames = self._parse(size)
                if frames > 1 and size == len(self._host.shared):
                    self._yield_turn()
            elif isinstance(own, Oversized):
                own.took(size)
                self._skip(own)
            else:
                self._fill(own, size)
        except Exception as error:
            self._failed(error)
        else:
            if self._out:
                self._flush()

    def eof_received(self) -> bool:
        self._ended = True
        if self._own is not None:
            self.close(f"the client ended the connection within a frame ({self._own.arrived()})")
        self._close_if_finished()
        return not self._closing

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and not self._closing:
            logger.info("client %s lost: %s", self.client, error)
        self._closing = True
        self._budget.forget(self._update_reading)
        self._drop_own()
        self._pipeline.abandon()
        self._host.gone(self)

    def pause_writing(self) -> None:
        self._writable = False
        self._update_reading()
        self._host.unread(self, self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._writable = True
        self._host.unread(self, 0)
        self._go_on()

    # -- frames

    def _parse(self, size: int) -> int:
        """Handle the frames in the shared buffer, and keep an incomplete one. Return how many were whole."""
        shared, most, answers = self._host.shared, self._host.limits.max_request_size, self._pipeline.answers
        at = frames = 0
        while size - at >= PREFIX:
            (length,) = read_size(shared, at)
            end = at + PREFIX + length
            if end > size or not 0 < length <= most:
                self._began = self._host.now()
                self._begin_own(length, shared[at + PREFIX : min(end, size)])
                if self._own is not None:
                    return frames
            elif self._writable and not answers:  # nearly always: as _frame does, without its call
                self._start(shared[at + PREFIX : end], False)
            else:
                self._frame(shared[at + PREFIX : end], False)
            if self._closing:
                return frames
            at = end
            frames += 1
        if at < size:
            self._began = self._host.now()
            self._begin_own(None, shared[at:size])
        return frames

    def _begin_own(self, size: int | None, arrived: memoryview) -> None:
        """Begin a frame of ``size`` bytes, of which ``arrived`` is there. None: its length is incomplete."""
        most = self._host.limits.max_request_size
        if size is not None and is_oversized(size, most):
            oversized = self._own = Oversized(size, self._refuse_oversized)
            oversized.take(arrived)
            self._skip(oversized)
            return
        if size is not None and not 0 < size <= most:
            raise Unanswerable(wrong_length(size, most))
        own = self._own = Arriving(size, self._host.arena, self._budget, self._update_reading)
        if own.waits:
            self._update_reading()
        own.memory[: len(arrived)] = arrived
        own.filled = len(arrived)

    def _fill(self, own: Arriving, size: int) -> None:
        own.filled += size
        memory = own.memory
        if own.filled < len(memory):
            return
        if own.size is None:
            (length,) = read_size(memory)
            self._begin_own(length, memory[:0])
            return
        self._own = None
        try:
            self._frame(memory, True)
        finally:
            if own.claimed:
                self._budget.give(own.claimed)

    def _refuse_oversized(self, beginning: memoryview, size: int, more: bool) -> Answer | Follower:
        most = self._host.limits.max_request_size
        reason = wrong_length(size, most)
        return self._host.dispatcher.refused_oversized(beginning, reason, self.client, more)

    def _skip(self, own: Oversized) -> None:
        """More of a frame that is too large has arrived. When it is whole, an empty frame takes its place."""
        if own.filled == own.size:
            self._own = None
            self._refusals.append(own.answer())
            self._frame(_NO_BYTES, True)

    def _drop_own(self) -> None:
        """Drop the frame that has begun."""
        own, self._own = self._own, None
        if own is not None:
            own.drop()

    def _frame(self, frame: memoryview, stable: bool) -> None:
        """Start or hold a request. It is held only if a request is in flight or an answer is unread."""
        if self._writable and (not self._pipeline.answers or self._pipeline.may_start(frame)):
            self._start(frame, stable)
        else:
            self._pipeline.hold(frame, stable)
            self._update_reading()

    def _start(self, frame: memoryview, stable: bool) -> None:
        self._fresh = False
        if not frame:
            answer: Answer | Pending[Answer] = self._refusals.popleft()
        else:
            answer = self._host.dispatcher.start(frame, self.client, stable)
        if type(answer) is bytes and not self._pipeline.answers:
            self._out.append(answer)
        elif isinstance(answer, Pending):
            self._pipeline.started(frame, answer)
            answer.then(self._answered)
            self._update_reading()
        elif answer is None:
            return
        elif self._pipeline.answers:
            self._pipeline.answered(answer)
        elif isinstance(answer, list):
            self._out += answer
            self._flush()  # large: the next request has to know whether the client reads it

    # -- answers

    def _answered(self, _: Pending[Answer]) -> None:
        """An answer is finished."""
        self._host.coalescer.call(self._send_finished)

    def _send_finished(self) -> None:
        """Send the finished answers at the head of the pipeline."""
        if self._closing:
            return
        try:
            self._pipeline.pop_finished(self._out)
        except Exception as error:
            self._failed(error)
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Start the held requests that may start."""
        if self._closing:
            return
        pipeline = self._pipeline
        try:
            while pipeline.held and self._writable and not self._closing:
                frame = pipeline.next_held()
                if frame is None:
                    break
                try:
                    self._start(frame, True)
                finally:
                    self._budget.give(len(frame))
        except Exception as error:
            self._failed(error)
            return
        if self._out:
            self._flush()
        self._update_reading()
        if self._ended or self._draining:
            self._close_if_finished()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if len(out) == 1:
            self._transport.write(out[0])
        else:
            self._transport.writelines(out)

    # -- muting, timeouts, closing

    def _yield_turn(self) -> None:
        """There is probably more to read: let the event loop serve others first."""
        if not self._yielding:
            self._yielding = True
            asyncio.get_running_loop().call_soon(self._end_turn)
            self._update_reading()

    def _end_turn(self) -> None:
        self._yielding = False
        self._update_reading()

    def _update_reading(self) -> None:
        """Read from the socket only while there is room (Kafka: mute or unmute the channel)."""
        pipeline, own, limits = self._pipeline, self._own, self._host.limits
        room = (
            self._writable
            and len(pipeline.held) + len(pipeline.answers) < limits.max_in_flight_requests
            and pipeline.budgeted < limits.max_in_flight_bytes
            and (own is None or not own.waits)
            and not self._draining
            and not self._yielding
        )
        if self._closing:
            return
        budget = self._budget
        if (
            room
            and budget.over
            and (pipeline.budgeted or budget.exhausted)
            and (own is None or not own.claimed)
        ):
            room = False
            budget.pause(self._update_reading)
        if room == self._reading or self._transport.is_closing():  # connection_lost is about to be called
            return
        self._reading = room
        if room:
            self._began = self._host.now()
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def budget_exhausted(self) -> None:
        """Stop reading until there is room in the budget, even if nothing is in flight."""
        self._update_reading()

    def check_timeouts(self, now: float) -> int:
        """Close the connection if a timeout has passed. Return how many bytes of answers are unread."""
        limits = self._host.limits
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        if self.active or (self._pipeline.answers and not self._closing) or self._unsent != before:
            self.active = False
            self._last = now
        elapsed = now - self._began if self._reading else 0.0
        if self._fresh and not self._closing and elapsed > limits.handshake_timeout:
            self.expire(f"no request within {limits.handshake_timeout:g} s (limits.handshake_timeout)")
        elif self._own is not None and (reason := self._own.overdue(elapsed, limits)):
            self.expire(reason)
        elif limits.idle_timeout and now - self._last > limits.idle_timeout:
            self.expire(f"idle for {limits.idle_timeout:g} s (limits.idle_timeout)")
        return self._unsent

    def unsent(self) -> int:
        """How many bytes of answers the client has not read yet."""
        return self._transport.get_write_buffer_size()

    def drain(self) -> None:
        """Close when all requests are answered."""
        self._draining = True
        self._update_reading()
        self._close_if_finished()

    def _close_if_finished(self) -> None:
        over = self._ended or self._draining
        if over and not self._pipeline.answers and not self._pipeline.held and not self._closing:
            self._closing = True
            self._transport.close()

    def close(self, reason: str, level: int = logging.INFO) -> None:
        """Close the connection after sending the finished answers. ``reason`` is logged."""
        if self._closing:
            return
        logger.log(level, "closing connection of %s: %s", self.client, shown(reason))
        if self._out:
            self._flush()
        self._closing = True
        self._drop_own()
        self._transport.close()

    def _failed(self, error: Exception) -> None:
        """Close with the error of a request or of the gateway."""
        if isinstance(error, Unanswerable):
            self.close(str(error), logging.WARNING)
        else:
            logger.error("connection of %s failed", self.client, exc_info=error)
            self.close(f"the gateway failed: {error!r}", logging.ERROR)
        forget_frames(error)

    def expire(self, reason: str) -> None:
        """Close after a timeout, without waiting for a client that does not read its answers."""
        self.close(reason)
        if self._transport.get_write_buffer_size():
            self._transport.abort()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._transport.abort()
