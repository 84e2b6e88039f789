"""One client's connection: bytes to frames, answers back in order, and never more in memory than allowed.

Rules:

1. Requests start in the order of their arrival, and answers leave in it. A request starts when everything
   before it has been answered, except that a Produce may overlap earlier Produces (clients rely on both).
2. Whole frames that may not start yet are held; past a limit of them and of those in work, or while the
   client does not read its answers, nothing more is read from the socket. What all connections hold counts
   against one budget: past it those that hold any are not read, and a large frame waits for its turn.
3. Small frames are read into a buffer that all connections of the loop share, and are gone after the call;
   a frame that did not arrive whole gets memory of its own, filled by the kernel directly. For a large one
   that is mapped, not touched: it costs what arrives, not what the client claims.
4. A frame that has begun is whole within a time, and so is the first; the server looks now and then.
5. A connection ends with a reason in the log, unless the client ended it between requests.
"""

from __future__ import annotations

import asyncio
import logging
import struct
from collections import deque
from typing import TYPE_CHECKING, cast

from kgw_core.api.produce_legacy import FIRST_V2
from kgw_core.errors import Unanswerable
from kgw_core.events import Client, shown
from kgw_core.pending import Pending
from kgw_core.server.dispatch import Answer
from kgw_core.wire import Buffer

if TYPE_CHECKING:
    from kgw_core.server.server import Server

logger = logging.getLogger("kgw")

SHARED_SIZE = 64 << 10
"""Size of the receive buffer that all connections share; what one read takes of small frames."""

_HTTP = {b"GET ", b"POST", b"PUT ", b"HEAD", b"OPTI", b"DELE", b"CONN", b"PRI "}
_PRODUCE = 0
_KEY_AND_VERSION = struct.Struct(">hh")
_SIZE = struct.Struct(">i")
MAPPED = 32 << 10
"""A frame of at least this many bytes is cut from the arena; a smaller one is a bytearray."""
SLOWEST = 64 << 10
"""Bytes a second: a frame that arrives as fast gets all the time that it needs."""

PREFIX = 4
DECODED = 32
"""How many times its bytes a request that has to wait may take once it is decoded, as entries of a few bytes
become objects; measured with a Fetch of many partitions: 26. Batches stay the bytes they are."""
GRACE = 1.0
"""Seconds for which a frame may stand still though others wait for its room."""


def _guessed(length: int) -> str:
    """What the client seems to speak instead, by the first four bytes that it sent."""
    sent = _SIZE.pack(length)
    if sent in _HTTP:
        return "; it looks like HTTP"
    if sent[:2] == b"\x16\x03":
        return "; it looks like TLS, and this listener is plaintext"
    return ""


def _is_produce(frame: memoryview) -> bool:
    """Whether the request is one that may overlap others: older Produces are converted first."""
    if len(frame) < _KEY_AND_VERSION.size:
        return False
    key, version = _KEY_AND_VERSION.unpack_from(frame)
    return bool(key == _PRODUCE and version >= FIRST_V2)


class Connection(asyncio.BufferedProtocol):
    """The protocol object of one socket."""

    __slots__ = (
        "_answers",
        "_began",
        "_budget",
        "_claimed",
        "_closing",
        "_draining",
        "_ended",
        "_filled",
        "_frame_size",
        "_fresh",
        "_held",
        "_kept",
        "_last",
        "_only_produces",
        "_out",
        "_own",
        "_reading",
        "_server",
        "_sizes",
        "_transport",
        "_unsent",
        "_waits",
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
        self._own: memoryview | None = None  # what arrives of a frame that has memory of its own
        self._filled = 0
        self._frame_size = -1  # of that frame; -1 while its length is still arriving
        self._began = 0.0  # when that frame did, or when reading it went on
        self._budget = server.budget
        self._claimed = 0  # bytes of the budget that are for that frame
        self._waits = False  # whether it waits for them
        self._fresh = True  # nothing was asked yet
        self._last = 0.0  # when the server last saw something happen
        self._answers: deque[Pending[Answer] | Answer] = deque()  # in order; the first is never finished
        self._sizes: deque[int] = deque()  # for each of them: what it keeps of the budget
        self._only_produces = True  # whether all of them belong to Produce
        self._held: deque[tuple[memoryview, bool]] = deque()
        self._kept = 0  # bytes of the budget: what is held and what is worked on
        self._out: list[Buffer] = []
        self._unsent = 0  # when `at_work` was asked last
        self._reading = True
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
        if self._own is not None:
            return self._own[self._filled :]
        return self._server.shared

    def buffer_updated(self, size: int) -> None:
        self.active = True
        if self._closing:
            return
        try:
            if self._own is None:
                self._parse(size)
            else:
                self._fill(size)
        except Unanswerable as error:
            self.close(str(error), logging.WARNING)
        except Exception as error:
            logger.exception("connection of %s failed", self.client)
            self.close(f"the gateway failed: {error!r}", logging.ERROR)
        else:
            if self._out:
                self._flush()

    def eof_received(self) -> bool:
        self._ended = True
        if self._own is not None:
            self.close(f"the client ended the connection within a frame ({self._arrived()})", logging.INFO)
        self._close_if_finished()
        return not self._closing

    def connection_lost(self, error: Exception | None) -> None:
        if error is not None and not self._closing:
            logger.info("client %s lost: %s", self.client, error)
        self._closing = True
        self._held.clear()
        for answer in self._answers:
            if isinstance(answer, Pending):
                answer.abandon()
        self._answers.clear()
        self._sizes.clear()
        self._drop_own()
        self._budget.forget(self._balance)
        kept, self._kept = self._kept, 0
        self._budget.give(kept)
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

    def _parse(self, size: int) -> None:
        """Go through the frames in the shared buffer; keep what is left over of the last."""
        shared = self._server.shared
        at = 0
        while size - at >= PREFIX:
            (length,) = _SIZE.unpack_from(shared, at)
            end = at + PREFIX + length
            if end > size or length <= 0:
                self._check_length(length)
                self._began = self._server.now()
                self._begin_own(shared[at + PREFIX : size], length)
                return
            self._frame(shared[at + PREFIX : end], False)
            if self._closing:
                return
            at = end
        if at < size:
            self._own = memoryview(bytearray(PREFIX))
            self._began = self._server.now()
            self._filled = size - at
            self._own[: self._filled] = shared[at:size]
            self._frame_size = -1

    def _begin_own(self, arrived: memoryview, length: int) -> None:
        self._frame_size = length
        self._filled = len(arrived)
        if length < MAPPED:
            self._own = memoryview(bytearray(length))
        else:
            arena = self._server.arena
            arena.rewind()
            self._own = arena.take(length)
            self._claimed = length
            if not self._budget.claim(length, self._granted):
                self._waits = True
                self._balance()
        self._own[: len(arrived)] = arrived

    def _granted(self) -> None:
        """There is room for the frame that has begun."""
        self._waits = False
        self._balance()

    def _drop_own(self) -> None:
        """The frame that has begun will not be whole."""
        self._own = None
        claimed, self._claimed = self._claimed, 0
        if self._waits:
            self._waits = False
            self._budget.forget(self._granted)
        elif claimed:
            self._budget.give(claimed)

    def _fill(self, size: int) -> None:
        own = self._own
        assert own is not None
        self._filled += size
        if self._filled < len(own):
            return
        if self._frame_size < 0:
            (length,) = _SIZE.unpack(own)
            self._check_length(length)
            self._begin_own(memoryview(b""), length)
            return
        self._own = None
        claimed, self._claimed = self._claimed, 0
        try:
            self._frame(own, True)
        finally:
            if claimed:
                self._budget.give(claimed)

    def _check_length(self, length: int) -> None:
        most = self._server.limits.max_request_size
        if not 0 < length <= most:
            told = f"a frame of {length} bytes; allowed are 1 to {most} (limits.max_request_size)"
            raise Unanswerable(told + _guessed(length))

    def _frame(self, frame: memoryview, stable: bool) -> None:
        if self._held or not self._writable or (self._answers and not self._may_overlap(frame)):
            if not stable:
                frame = memoryview(bytearray(frame))
            self._held.append((frame, True))
            self._kept += len(frame)
            self._budget.take(len(frame))
            self._balance()
        else:
            self._start(frame, stable)

    def _may_overlap(self, frame: memoryview) -> bool:
        return (
            self._only_produces
            and len(self._answers) < self._server.limits.max_in_flight_requests
            and _is_produce(frame)
        )

    def _start(self, frame: memoryview, stable: bool) -> None:
        self._fresh = False
        answer = self._server.dispatcher.start(frame, self.client, stable)
        if isinstance(answer, Pending):
            size = len(frame)
            if _is_produce(frame):
                self._only_produces = self._only_produces or not self._answers
            else:
                self._only_produces = False
                size *= DECODED
            self._answers.append(answer)
            self._sizes.append(size)
            self._kept += size
            self._budget.take(size)
            answer.then(self._answered)
            self._balance()
        elif answer is None:
            return
        elif self._answers:
            self._answers.append(answer)
            self._sizes.append(0)
        elif type(answer) is list:
            self._out += answer
            self._flush()  # a large one: what comes next has to know whether the client reads it
        else:
            self._out.append(answer)  # type: ignore[arg-type] # bytes, as the other kinds are ruled out

    # -- answers

    def _answered(self, _: Pending[Answer]) -> None:
        """Some answer is finished: send what is finished at the head of the line."""
        if self._closing:
            return
        answers = self._answers
        done = 0
        try:
            while answers:
                answer = answers[0]
                if isinstance(answer, Pending):
                    if not answer.done:
                        break
                    answer = answer.result()
                answers.popleft()
                done += self._sizes.popleft()
                if isinstance(answer, list):
                    self._out += answer
                elif answer is not None:
                    self._out.append(answer)
        except Unanswerable as error:
            self.close(str(error), logging.WARNING)
        except Exception as error:
            logger.exception("connection of %s failed", self.client)
            self.close(f"the gateway failed: {error!r}", logging.ERROR)
        else:
            if not answers:
                self._only_produces = True
            self._kept -= done
            self._budget.give(done)
            self._go_on()

    def _go_on(self) -> None:
        """Start what was held, as far as the rules let it."""
        if self._closing:
            return
        held = self._held
        try:
            while held and self._writable and not self._closing:
                frame, stable = held[0]
                if self._answers and not self._may_overlap(frame):
                    break
                held.popleft()
                size = len(frame)
                self._kept -= size
                try:
                    self._start(frame, stable)
                finally:
                    self._budget.give(size)
        except Unanswerable as error:
            self.close(str(error), logging.WARNING)
            return
        except Exception as error:
            logger.exception("connection of %s failed", self.client)
            self.close(f"the gateway failed: {error!r}", logging.ERROR)
            return
        if self._out:
            self._flush()
        self._balance()
        self._close_if_finished()

    def _flush(self) -> None:
        out, self._out = self._out, []
        if len(out) == 1:
            self._transport.write(out[0])
        else:
            self._transport.writelines(out)

    # -- pressure and ends

    def _balance(self) -> None:
        """Read from the socket only while there is room for what comes."""
        limits = self._server.limits
        room = (
            self._writable
            and len(self._held) + len(self._answers) < limits.max_in_flight_requests
            and self._kept < limits.max_in_flight_bytes
            and not self._waits
            and not self._draining
        )
        if self._closing:
            return
        budget = self._budget
        if room and budget.over and not self._claimed and (self._kept or budget.exhausted):
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
        if self.active or (self._answers and not self._closing) or self._unsent != before:
            self.active = False
            self._last = now
        elapsed = now - self._began if self._reading else 0.0
        if self._fresh and not self._closing and elapsed > limits.handshake_timeout:
            self.expire(f"no request within {limits.handshake_timeout:g} s (limits.handshake_timeout)")
        elif self._own is not None and elapsed > limits.frame_timeout + self._filled / SLOWEST:
            timeout = f"{limits.frame_timeout:g} s (limits.frame_timeout)"
            self.expire(f"a request was not whole within {timeout}: {self._arrived()}")
        elif self._claimed and self._budget.contended and elapsed > GRACE:
            if self._filled < self._frame_size * (elapsed - GRACE) / limits.frame_timeout:
                self.expire(f"others wait for its room, and a request comes too slowly: {self._arrived()}")
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
        if (self._ended or self._draining) and not self._answers and not self._held and not self._closing:
            self._closing = True
            self._transport.close()

    def _arrived(self) -> str:
        return f"{self._filled} of {self._frame_size} bytes" if self._frame_size >= 0 else "within its length"

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

    def expire(self, reason: str) -> None:
        """Close as idle; a client that does not read what is on its way is not waited for."""
        self.close(reason)
        if self._transport.get_write_buffer_size():
            self._transport.abort()

    def abort(self) -> None:
        """Close at once."""
        self._closing = True
        self._transport.abort()
