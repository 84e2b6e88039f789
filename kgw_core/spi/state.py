"""What a plugin implements to keep the gateway's own state: one class, four coroutines.

A :class:`StateStore` is a small set of keys and values with versions. Groups, committed offsets,
transactions, producers' snapshots, ACLs and credentials persist through it. The core's default
(:mod:`kgw_core.state`) keeps it in an internal log of the ``LogStore``, so a storage plugin needs none.

The contract. *The core promises:*

1. Keys are not empty and at most 65,535 bytes, values at most 16 MiB. A key begins with the name of the
   room that owns it and a slash (``groups/…``).
2. Several gateways may write, and the rooms of one do so at the same time. ``if_versions`` decides between
   them: a room that several gateways write expects the version that it has read (for the cluster's own keys,
   such as its id), or that of a fence, which each new owner of the room moves (groups, by slot in their
   keys).
3. A commit is never cancelled because a client went away. A ``get`` or ``scan`` may be cancelled.
4. ``open`` is called once before anything else, ``close`` once after the last call has returned.

*The store promises:*

5. A commit is all or nothing over all its keys, and with ``capabilities().durable`` survives a crash once
   it has returned. A value of None deletes the key; deleting a key that is not there is no error, and an
   empty value is a value.
6. Every commit has a version, an integer above 0, which it returns; the versions of later commits are
   larger, also after reopening and after deletions. The version of a key is that of the last commit that
   wrote it; the version of a key that is not there is 0.
7. ``if_versions`` is checked against the state before the commit: if a key does not have the version
   given for it (0: it must not be there), commit raises :class:`VersionConflict` and writes nothing. Its keys
   need not be among the changes. Of commits at the same time that expect one version of one key, at
   most one succeeds.
8. What a commit wrote is seen by every ``get`` and ``scan`` that begins after it has returned. A commit is
   never seen in part by a ``get``, nor by a ``scan`` that began after or ended before it.
9. ``scan`` gives every key that begins with ``prefix`` once, in no particular order; a commit meanwhile may
   or may not be seen, key by key. It yields to the event loop at least every few thousand entries.
10. Commits that are awaited one after the other apply in that order.
11. What cannot be done now raises a :class:`~kgw_core.errors.KafkaError` (mostly ``KafkaStorageError``) if
    it is certain that nothing was written. After any other exception the core takes the outcome as
    unknown and asks the store until it can answer.
12. Once a commit has raised, it has happened or never will. A store that gave up waiting for its engine first
    makes sure that the writes it has sent can no longer land. The core also fences its own commits: each
    expects the version that the previous one gave to a key of the writer (``if_versions``).
13. No method blocks the event loop: file and network I/O that can wait goes to a thread or is awaited.
14. With ``capabilities().immediate`` nothing ever waits, and :meth:`StateStore.commit_now` is there, too. If
    it raises, it has written nothing.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

from kgw_core.errors import KafkaStorageError, MessageTooLarge, NotCoordinator
from kgw_core.spi.context import PluginContext

API_VERSION = 2
"""The version of this interface; a plugin states the one it was written for."""

MOST_KEY = 65_535
"""Bytes of a key at most."""

MOST_VALUE = 16 << 20
"""Bytes of a value at most."""

ABSENT = 0
"""The version of a key that is not there."""

Changes = Mapping[bytes, bytes | None]
"""Values by key; None deletes."""

Versions = Mapping[bytes, int]
"""Expected versions by key; :data:`ABSENT` for a key that must not be there."""

NO_VERSIONS: Versions = {}


def check_changes(changes: Changes) -> None:
    """Return if ``changes`` keep the core's first promise.

    :raises MessageTooLarge: they do not; nothing else may be said of them.
    """
    for key, value in changes.items():
        if not 0 < len(key) <= MOST_KEY:
            raise MessageTooLarge(f"a key of {len(key)} bytes; the state takes up to {MOST_KEY}")
        if value is not None and len(value) > MOST_VALUE:
            raise MessageTooLarge(
                f"a value of {len(value)} bytes under {key[:100]!r}; the state takes up to {MOST_VALUE}"
            )


class VersionConflict(Exception):
    """A commit was not done: ``key`` has the version ``found``, not ``expected``."""

    def __init__(self, key: bytes, expected: int, found: int) -> None:
        super().__init__(f"{key!r} has version {found}, not {expected}")
        self.key = key
        self.expected = expected
        self.found = found


class Entry(NamedTuple):
    """One key: its value, and the version of the commit that wrote it."""

    key: bytes
    value: bytes
    version: int


@dataclass(frozen=True, slots=True)
class StateCapabilities:
    """``durable``: a commit that returned survives kill -9. ``immediate``: see rule 14."""

    durable: bool = False
    immediate: bool = False


class StateStore(ABC):
    """Base class of state plugins; the module's docstring is its contract.

    ``Config`` is a msgspec Struct that the ``[state]`` table is checked against before the store is made;
    None takes no settings. ``name`` is what a config file selects by.
    """

    name: ClassVar[str]
    api_version: ClassVar[int] = API_VERSION
    Config: ClassVar[type[Any] | None] = None

    def __init__(self, config: Any = None) -> None:
        self.config = config

    async def open(self, context: PluginContext | None = None) -> None:
        """Called once before anything else; without a context in tests only.

        :raises Exception: whatever keeps the gateway from starting.
        """

    async def close(self) -> None:
        """Called once, after the last call has returned."""

    async def abandon(self) -> None:
        """Called instead of :meth:`close` if the gateway did not start, and so has served nobody: leave
        nothing behind that ``open`` has made, unless others use it by now. The default closes."""
        await self.close()

    def capabilities(self) -> StateCapabilities:
        """What the store does beyond the plain contract."""
        return StateCapabilities()

    @abstractmethod
    async def get(self, key: bytes) -> Entry | None:
        """The entry at ``key``, or None. :raises KafkaError: the store cannot answer now."""

    @abstractmethod
    def scan(self, prefix: bytes) -> AsyncIterator[Entry]:
        """Every entry whose key begins with ``prefix`` (``b""``: all); an async generator.

        :raises KafkaError: the store cannot answer now.
        """

    @abstractmethod
    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        """Do all of ``changes`` if all of ``if_versions`` hold, or nothing; return the commit's version.

        Without changes nothing is written; the versions are checked all the same, and the result is the
        version of the last commit there was, or 0.

        :raises VersionConflict: a key has another version; nothing was written.
        :raises KafkaError: the store cannot do it now, and nothing was written.
        """

    def commit_now(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        """:meth:`commit` without waiting; only where ``capabilities().immediate``."""
        raise NotImplementedError(f"{type(self).__name__} is not an immediate store")


TRIES = 20
"""How often :func:`compare_and_set` loses against others before it gives up."""


async def compare_and_set(store: StateStore, key: bytes, change: Callable[[bytes | None], bytes]) -> bytes:
    """Set ``key`` to what ``change`` makes of its value (None: it is not there), and return the new
    value. If another writer has set it meanwhile, ``change`` is called with the value that is there then.
    Nothing is written if the value stays the same.

    :raises KafkaStorageError: other writers were faster each time.
    :raises Exception: as :meth:`StateStore.get` and :meth:`StateStore.commit`.
    """
    for _ in range(TRIES):
        entry = await store.get(key)
        value = change(entry.value if entry is not None else None)
        if entry is not None and value == entry.value:
            return value
        try:
            await store.commit({key: value}, {key: entry.version if entry is not None else ABSENT})
        except (VersionConflict, NotCoordinator):
            continue
        return value
    raise KafkaStorageError(f"{key!r} was changed by others in each of {TRIES} tries to set it")
