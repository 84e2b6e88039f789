"""Fetch sessions (KIP-227): they remember what a client asked for and knows, so that a Fetch has only
changes.

This module does no I/O and reads no clock. ``now`` is in seconds of a monotonic clock. Kafka's rules
(``FetchManager``, ``FetchSessionCacheShard``):

1. A full fetch of epoch 0 begins a session with a random id above 0. The next fetch has epoch 1, each later
   one the next epoch, and 1 follows 2^31-1. A wrong epoch is an error and changes nothing.
2. A session belongs to no connection: any client with its id and epoch may continue it.
3. A session names topics either by name or by id, as long as it exists.
4. If there are ``max_sessions``, a new session replaces the least recently used one, if its last use was more
   than :data:`EVICTION_SECONDS` ago; else the smallest session that began more than :data:`EVICTION_SECONDS`
   ago, if that has fewer partitions. Else no session begins: the client gets id 0 and continues with full
   fetches.
5. A session ends when it has no partition left, or when a full fetch names it.

Kafka has no ``max_partitions``. It limits the partitions of all sessions, and so their memory. A session that
would exceed it does not begin, and one that grows past it ends.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from typing import Final, TypeAlias

from kgw_core.errors import FetchSessionIdNotFound, FetchSessionTopicIdError, InvalidFetchSessionEpoch
from kgw_core.fetching.changed import Changed
from kgw_core.fetching.part import Part
from kgw_core.wire.messages.fetch import FetchPartition, FetchTopic, ForgottenTopic

EVICTION_SECONDS = 120.0
"""Kafka's MIN_INCREMENTAL_FETCH_SESSION_EVICTION_MS, a constant there, too."""

NO_SESSION = 0
FIRST_EPOCH = 1
LAST_EPOCH = 2**31 - 1

LARGE: Final = 2000
"""A session with more partitions tracks those that have changed."""

Key: TypeAlias = tuple[str | bytes, int]
"""The topic's name or 16-byte id, and the partition."""


def asked_of(topics: Iterable[FetchTopic]) -> Iterator[tuple[FetchTopic, FetchPartition]]:
    """The partitions of a fetch, each with its topic."""
    return ((topic, asked) for topic in topics for asked in topic.partitions)


def gone_of(forgotten: Iterable[ForgottenTopic]) -> Iterator[tuple[ForgottenTopic, int]]:
    """The forgotten partitions of a fetch, each with its topic."""
    return ((topic, partition) for topic in forgotten for partition in topic.partitions)


class FetchSession:
    """One session. ``parts`` are in the order of reading. ``epoch`` is that of the next fetch.
    ``changed`` has the parts that a fetch has to read; if it is None, those are all."""

    __slots__ = ("_listed", "begun", "by_id", "changed", "epoch", "id", "parts", "size", "used")

    def __init__(self, id: int, by_id: bool, parts: dict[Key, Part], now: float) -> None:
        self.id = id
        self.by_id = by_id
        self.parts = parts
        self.epoch = FIRST_EPOCH
        self.begun = self.used = now
        self.size = len(parts)  # the counted partitions
        self._listed = False  # whether a larger session may evict it
        self.changed: Changed | None = None
        self.track_if_large()

    def track_if_large(self) -> None:
        """Track the parts that have changed from now on, if there are many."""
        if self.changed is None and len(self.parts) > LARGE:
            self.changed = Changed(self.parts.values())

    def change(self, asked: Iterable[tuple[FetchTopic, FetchPartition]]) -> None:
        """Add and change these partitions."""
        parts, changed, by_id = self.parts, self.changed, self.by_id
        for topic, partition in asked:
            key = topic.topic_id if by_id else topic.topic
            part = parts.get((key, partition.partition))
            if part is None:
                part = parts[key, partition.partition] = Part(key, partition)
            else:
                part.asked = partition
                part.quiet = -1
            if changed is not None:
                changed.put_back(part)

    def forget(self, gone: Iterable[tuple[ForgottenTopic, int]]) -> None:
        """Remove these partitions."""
        for topic, partition in gone:
            part = self.parts.pop((topic.topic_id if self.by_id else topic.topic, partition), None)
            if part is not None and self.changed is not None:
                self.changed.remove(part)

    def move_to_end(self, part: Part) -> None:
        """Move the part to the end of the reading order."""
        key = part.topic, part.asked.partition
        if self.parts.pop(key, None) is not None:
            self.parts[key] = part
        if self.changed is not None:
            self.changed.put_last(part)

    def end(self) -> None:
        """The session is over."""
        changed, self.changed = self.changed, None
        if changed is not None:
            changed.end(self.parts.values())


class FetchSessions:
    """All sessions. ``begun`` and ``evicted`` count sessions, ``partitions`` those of all sessions now."""

    def __init__(self, max_sessions: int = 1000, max_partitions: int = 200_000) -> None:
        self.max_sessions = max_sessions
        self.max_partitions = max_partitions
        self.begun = 0
        self.evicted = 0
        self.partitions = 0
        self._sessions: OrderedDict[int, FetchSession] = OrderedDict()  # the least recently used first
        self._by_size: dict[int, dict[int, FetchSession]] = {}  # sessions that a larger one may evict

    def __len__(self) -> int:
        return len(self._sessions)

    def get(self, id: int) -> FetchSession | None:
        """The session, if there is one. This does not count as a use."""
        return self._sessions.get(id)

    def begin(self, by_id: bool, parts: dict[Key, Part], now: float) -> int:
        """Begin a session; return its id, or 0 if there is no room for it."""
        size = len(parts)
        if not self._has_room(size, now):
            return NO_SESSION
        id = NO_SESSION
        while id == NO_SESSION or id in self._sessions:
            id = int.from_bytes(os.urandom(4), "big") >> 1
        self._sessions[id] = FetchSession(id, by_id, parts, now)
        self.partitions += size
        self.begun += 1
        return id

    def resume(
        self,
        id: int,
        epoch: int,
        by_id: bool,
        topics: Sequence[FetchTopic],
        forgotten: Sequence[ForgottenTopic],
        now: float,
    ) -> FetchSession | None:
        """Continue a session with the changes of a fetch; None if it has no partition left and ends.

        :raises FetchSessionIdNotFound: there is no such session, or it has grown past the limit.
        :raises InvalidFetchSessionEpoch: the epoch is wrong.
        :raises FetchSessionTopicIdError: the session has topics by name and the fetch by id, or the reverse.
        """
        session = self.due(id, epoch, by_id)
        if topics:
            session.change(asked_of(topics))
        if forgotten:
            session.forget(gone_of(forgotten))
        return self.resumed(session, now)

    def due(self, id: int, epoch: int, by_id: bool) -> FetchSession:
        """The session that a fetch continues. It may be changed until :meth:`resumed` is called.

        :raises FetchSessionIdNotFound: there is no such session.
        :raises InvalidFetchSessionEpoch: the epoch is wrong.
        :raises FetchSessionTopicIdError: the session has topics by name and the fetch by id, or the reverse.
        """
        session = self._sessions.get(id)
        if session is None:
            raise FetchSessionIdNotFound(f"there is no fetch session {id}")
        if session.epoch != epoch:
            raise InvalidFetchSessionEpoch(f"epoch {session.epoch} of fetch session {id} is due, not {epoch}")
        if session.by_id != by_id:
            raise FetchSessionTopicIdError(
                f"fetch session {id} has topics by {'id' if session.by_id else 'name'}"
            )
        session.epoch = epoch + 1 if epoch < LAST_EPOCH else FIRST_EPOCH
        return session

    def resumed(self, session: FetchSession, now: float) -> FetchSession | None:
        """The session after the changes of a fetch; None if it has no partition left and ends.

        :raises FetchSessionIdNotFound: it has ended meanwhile, or has grown past the limit.
        """
        id = session.id
        if self._sessions.get(id) is not session:
            raise FetchSessionIdNotFound(f"fetch session {id} has ended meanwhile")
        if not session.parts:
            self._end(session)
            return None
        if len(session.parts) > LARGE:
            session.track_if_large()
        self._touch(session, now)
        if self.partitions > self.max_partitions:
            self._end(session)
            raise FetchSessionIdNotFound(
                f"fetch session {id} grew to {session.size} partitions, over {self.max_partitions} in all"
                " sessions (limits.max_fetch_session_partitions)"
            )
        return session

    def close(self, id: int) -> None:
        """End a session, if there is one."""
        session = self._sessions.get(id)
        if session is not None:
            self._end(session)

    # -- room

    def _has_room(self, size: int, now: float) -> bool:
        """Make room for one more session of ``size`` partitions, if possible."""
        if size > self.max_partitions:
            return False
        while self.partitions + size > self.max_partitions:
            if not self._evict_stale(now):
                return False
        if len(self._sessions) < self.max_sessions or self._evict_stale(now):
            return True
        smallest = min(self._by_size, default=size)
        if smallest >= size:
            return False
        self._evict(next(iter(self._by_size[smallest].values())))
        return True

    def _evict_stale(self, now: float) -> bool:
        oldest = next(iter(self._sessions.values()), None)
        if oldest is None or now - oldest.used <= EVICTION_SECONDS:
            return False
        self._evict(oldest)
        return True

    def _touch(self, session: FetchSession, now: float) -> None:
        self._sessions.move_to_end(session.id)
        session.used = now
        size = len(session.parts)
        if size != session.size:
            self._unlist(session)
            self.partitions += size - session.size
            session.size = size
        if not session._listed and now - session.begun > EVICTION_SECONDS:
            session._listed = True
            self._by_size.setdefault(size, {})[session.id] = session

    def _evict(self, session: FetchSession) -> None:
        self.evicted += 1
        self._end(session)

    def _end(self, session: FetchSession) -> None:
        self._unlist(session)
        session.end()
        del self._sessions[session.id]
        self.partitions -= session.size

    def _unlist(self, session: FetchSession) -> None:
        if session._listed:
            session._listed = False
            same = self._by_size[session.size]
            del same[session.id]
            if not same:
                del self._by_size[session.size]
