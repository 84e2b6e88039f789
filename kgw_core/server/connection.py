"""One client's connection: bytes to frames, answers back, and never more in memory than allowed.

Rules:

1. Requests start in the order of their arrival, and answers leave in it (:mod:`kgw_core.server.line`).
2. Whole frames that may not start yet are held; past a limit of them and of those in work, or while the
   client does not read its answers, nothing more is read from the socket. What all connections hold counts
   against one budget: past it those that hold any are not read, and a large frame waits for its turn.
3. Small frames are read into a buffer that all connections of the loop share, and are gone after the call;
   a frame that did not arrive whole gets memory of its own, filled by the kernel directly
   (:mod:`kgw_core.server.arriving`).
4. A frame that has begun is whole within a time, and so is the first; the server looks now and then.
5. A connection ends with a reason in the log, unless the client ended it between requests.
6. After a whole buffer of small frames others have their turn: libuv would read on, up to 32 times.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, cast

from kgw_core.errors import Unanswerable, forget_frames
from kgw_core.events import Client, shown
from kgw_core.pending import Pending
from kgw_core.server.arriving import PREFIX, Arriving, read_size, wrong_length
from kgw_core.server.dispatch import Answer
from kgw_core.server.line import Line
from kgw_core.server.oversized import Oversized, may_be_told
from kgw_core.wire import Buffer

if TYPE_CHECKING:
    from kgw_core.server.server import Server

logger = logging.getLogger("kgw")

_NO_BYTES = memoryview(b"")
SHARED_SIZE = 64 << 10
"""Size of the receive buffer that all connections share; what one read takes of small frames."""


class Connection(asyncio.BufferedProtocol):
    """The protocol object of one socket."""

    __slots__ = (
        "_began",
        "_budget",
        "_closing",
        "_draining",
        "_ended",
        "_fresh",
        "_last",
        "_line",
        "_out",
        "_own",
        "_reading",
        "_refusals",
        "_resting",
        "_server",
        "_transport",
        "_unsent",
        "_writable",
        "active",
        "client",
        "listener",
    )

    def __init__(self, server: Server, listener: str) -> None:
        self._server = server
        self.listener = listener
        self.client: Client = None  # type: ignore[assignment] # set when the connection is made
        self.active = True
        self._transport: asyncio.Transport = None  # type: ignore[assignment] # likewise
        self._budget = server.budget
        limits = server.limits
        self._line = Line(server.budget, limits.max_in_flight_requests, limits.most_entries)
        self._own: Arriving | Oversized | None = None  # the frame that has memory of its own
        self._refusals: deque[Answer] = deque()  # answers to those that were too large
        self._began = 0.0  # when that frame did, or when reading it went on
        self._fresh = True  # nothing was asked yet
        self._last = 0.0  # when the server last saw something happen
        self._out: list[Buffer] = []
        self._unsent = 0  # when the server looked last
        self._reading = True
        self._resting = False  # others have their turn before more is read
        self._writable = True
        self._ended = False  # the client sends nothing more
        self._draining = False
        self._closing = False

    # -- from the transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        self._began = self._last = self._server.now()
        self._transport.set_write_buffer_limits(high=self._server.limits.max_queued_bytes)
        refusal = self._server.admit(self, self._transport)
        if refusal:
            self.close(refusal, logging.WARNING)

    def get_buffer(self, sizehint: int) -> memoryview:
        own = self._own
        if own is None:
            return self._server.shared
        if isinstance(own, Oversized):
            return own.room(self._server.shared)
        return own.memory[own.filled :]

    def buffer_updated(self, size: int) -> None:
        self.active = True
        if self._closing:
            return
        try:
            own = self._own
            if own is None:
                frames = self._parse(size)
                if frames > 1 and size == len(self._server.shared):
                    self._rest()
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
        self._budget.forget(self._balance)
        self._drop_own()
        self._line.abandon()
        self._server.gone(self)

    def pause_writing(self) -> None:
        self._writable = False
        self._balance()
        self._server.unread(self, self._transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        self._writable = True
        self._server.unread(self, 0)
        self._go_on()

    # -- frames

    def _parse(self, size: int) -> int:
        """Go through the frames in the shared buffer; keep what is left over. Return how many were whole."""
        shared, most = self._server.shared, self._server.limits.max_request_size
        at = frames = 0
        while size - at >= PREFIX:
            (length,) = read_size(shared, at)
            end = at + PREFIX + length
            if end > size or not 0 < length <= most:
                self._began = self._server.now()
                self._begin_own(length, shared[at + PREFIX : min(end, size)])
                if self._own is not None:
                    return frames
            else:
                self._frame(shared[at + PREFIX : end], False)
            if self._closing:
                return frames
            at = end
            frames += 1
        if at < size:
            self._began = self._server.now()
            self._begin_own(None, shared[at:size])
        return frames

    def _begin_own(self, size: int | None, arrived: memoryview) -> None:
        """Of a frame of ``size`` bytes, or (None) of the length of one, this much has come."""
        most = self._server.limits.max_request_size
        if size is not None and may_be_told(size, most):
            oversized = self._own = Oversized(size, self._refuse_oversized)
            oversized.take(arrived)
            self._skip(oversized)
            return
        if size is not None and not 0 < size <= most:
            raise Unanswerable(wrong_length(size, most))
        own = self._own = Arriving(size, self._server.arena, self._budget, self._balance)
        if own.waits:
            self._balance()
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

    def _refuse_oversized(self, beginning: memoryview, size: int, more: bool) -> Answer:
        most = self._server.limits.max_request_size
        told = wrong_length(size, most)
        return self._server.dispatcher.refused_oversized(beginning, told, self.client, more)

    def _skip(self, own: Oversized) -> None:
        """More of a frame that is too large has come. Once it is whole, one of no bytes stands for it."""
        if own.filled == own.size:
            self._own = None
            self._refusals.append(own.answer)
            self._frame(_NO_BYTES, True)

    def _drop_own(self) -> None:
        """The frame that has begun will not be whole."""
        own, self._own = self._own, None
        if own is not None:
            own.drop()

    def _frame(self, frame: memoryview, stable: bool) -> None:
        """Start it or hold it. Nothing is held unless a request is not answered, or an answer not read."""
        if self._writable and (not self._line.answers or self._line.may_follow(frame)):
            self._start(frame, stable)
        else:
            self._line.hold(frame, stable)
            self._balance()

    def _start(self, frame: memoryview, stable: bool) -> None:
        self._fresh = False
        if not frame:
            answer: Answer | Pending[Answer] = self._refusals.popleft()
        else:
            answer = self._server.dispatcher.start(frame, self.client, stable)
        if isinstance(answer, Pending):
            self._line.started(frame, answer)
            answer.then(self._answered)
            self._balance()
        elif answer is None:
            return
        elif self._line.answers:
            self._line.answered(answer)
        elif type(answer) is list:
            self._out += answer
            self._flush()  # a large one: what comes next has to know whether the client reads it
        else:
            self._out.append(answer)  # type: ignore[arg-type] # bytes, as the other kinds are ruled out

    # -- answers

    def _answered(self, _: Pending[Answer]) -> None:
        """Some answer is finished."""
        self._server.gathering.call(self._send_finished)

    def _send_finished(self) -> None:
        """Send what is finished at the head of the line."""
        if self._closing:
            return
        try:
            self._line.leave(self._out)
        except Exception as error:
            self._failed(error)
        else:
            self._go_on()

    def _go_on(self) -> None:
        """Start what was held, as far as the rules let it."""
        if self._closing:
            return
        line = self._line
        try:
            while line.held and self._writable and not self._closing:
                frame = line.next_held()
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
        self._balance()
        if self._ended or self._draining:
            self._close_if_finished()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if len(out) == 1:
            self._transport.write(out[0])
        else:
            self._transport.writelines(out)

    # -- pressure and ends

    def _rest(self) -> None:
        """There is more to read, probably: after the others' turn."""
        if not self._resting:
            self._resting = True
            asyncio.get_running_loop().call_soon(self._rested)
            self._balance()

    def _rested(self) -> None:
        self._resting = False
        self._balance()

    def _balance(self) -> None:
        """Read from the socket only while there is room for what comes."""
        line, own, limits = self._line, self._own, self._server.limits
        room = (
            self._writable
            and len(line.held) + len(line.answers) < limits.max_in_flight_requests
            and line.kept < limits.max_in_flight_bytes
            and (own is None or not own.waits)
            and not self._draining
            and not self._resting
        )
        if self._closing:
            return
        budget = self._budget
        if room and budget.over and (line.kept or budget.exhausted) and (own is None or not own.claimed):
            room = False
            budget.pause(self._balance)
        if room == self._reading or self._transport.is_closing():  # lost, and about to be told
            return
        self._reading = room
        if room:
            self._began = self._server.now()
            self._transport.resume_reading()
        else:
            self._transport.pause_reading()

    def press(self) -> None:
        """The budget is exhausted: read no more before there is room, even if nothing is in flight."""
        self._balance()

    def look(self, now: float) -> int:
        """Close what takes too long; return how many bytes of answers are unread."""
        limits = self._server.limits
        before, self._unsent = self._unsent, self._transport.get_write_buffer_size()
        if self.active or (self._line.answers and not self._closing) or self._unsent != before:
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
        """Answer what has been asked, then close."""
        self._draining = True
        self._balance()
        self._close_if_finished()

    def _close_if_finished(self) -> None:
        over = self._ended or self._draining
        if over and not self._line.answers and not self._line.held and not self._closing:
            self._closing = True
            self._transport.close()

    def close(self, reason: str, level: int = logging.INFO) -> None:
        """Close; what was answered before still leaves. ``reason`` is the line in the log."""
        if self._closing:
            return
        logger.log(level, "closing connection of %s: %s", self.client, shown(reason))
        if self._out:
            self._flush()
        self._closing = True
        self._drop_own()
        self._transport.close()

    def _failed(self, error: Exception) -> None:
        """Close with what a request, or the gateway, has failed with."""
        if isinstance(error, Unanswerable):
            self.close(str(error), logging.WARNING)
        else:
            logger.error("connection of %s failed", self.client, exc_info=error)
            self.close(f"the gateway failed: {error!r}", logging.ERROR)
        forget_frames(error)

    def expire(self, reason: str) -> None:
        """Close as idle; a client that does not read what is on its way is not waited for."""
        self.close(reason)
        if self._transport.get_write_buffer_size():
            self._transport.abort()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._transport.abort()
