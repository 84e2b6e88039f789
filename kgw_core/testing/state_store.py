"""The suite that says whether a StateStore keeps its promises.

::

    class TestMine(StateStoreSuite):
        @pytest.fixture
        def make_store(self, tmp_path):
            return lambda: MineStateStore(MineStateStore.Config(path=tmp_path / "state.db"))

``make_store`` makes a store that is not open. Called again after the first one was closed, it makes one on
the same data where the store is durable. The fixture ``failing`` makes commits fail; without it the test of
late commits is skipped. For stores that crash well, let :meth:`StateStoreSuite.crash` end one without closing
it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager

import anyio
import pytest

from kgw_core.spi.state import ABSENT, MOST_KEY, MOST_VALUE, Entry, StateStore, VersionConflict
from kgw_core.testing.turns import longest_turn

MakeStore = Callable[[], StateStore]
Failing = Callable[[StateStore], AbstractContextManager[object]]


async def all_of(store: StateStore, prefix: bytes = b"") -> dict[bytes, bytes]:
    """Keys and values below ``prefix``; each key is given once."""
    entries = [entry async for entry in store.scan(prefix)]
    found = {entry.key: entry.value for entry in entries}
    assert len(found) == len(entries), "a key is given twice"
    return found


class StateStoreSuite:
    """Subclass it, give it the fixture ``make_store``, run pytest."""

    @pytest.fixture
    def anyio_backend(self) -> str:
        return "asyncio"

    @asynccontextmanager
    async def opened(self, make_store: MakeStore) -> AsyncIterator[StateStore]:
        """A store that is open; closed on leaving."""
        store = make_store()
        await store.open()
        try:
            yield store
        finally:
            await store.close()

    async def crash(self, store: StateStore) -> None:
        """End ``store`` as a crash would. The default closes it."""
        await store.close()

    late_seconds = 0.2
    """How long the suite watches that nothing lands after a commit has raised: more than the store's own time
    for its engine to answer."""

    @pytest.fixture
    def failing(self) -> Failing | None:
        """Makes commits of the store that it is called with fail, as long as the context manager that it
        returns is entered."""
        return None

    def needs_durable(self, store: StateStore) -> None:
        if not store.capabilities().durable:
            pytest.skip("the store is not durable")

    # -- what the class is

    @pytest.mark.anyio
    async def test_it_has_a_name_and_this_api_version(self, make_store: MakeStore) -> None:
        store = make_store()
        assert store.name
        assert store.api_version == StateStore.api_version

    # -- keys and values (5, 8)

    @pytest.mark.anyio
    async def test_an_empty_store_has_nothing(self, make_store: MakeStore) -> None:
        async with self.opened(make_store) as store:
            assert await store.get(b"a/1") is None
            assert await all_of(store) == {}

    @pytest.mark.anyio
    async def test_what_was_committed_is_there(self, make_store: MakeStore) -> None:
        async with self.opened(make_store) as store:
            version = await store.commit({b"a/1": b"one", b"a/2": b"two"})
            assert version > 0
            assert await store.get(b"a/1") == Entry(b"a/1", b"one", version)
            assert await store.get(b"a/2") == Entry(b"a/2", b"two", version)

    @pytest.mark.anyio
    async def test_a_later_value_replaces_an_earlier_one(self, make_store: MakeStore) -> None:
        async with self.opened(make_store) as store:
            first = await store.commit({b"a/1": b"one", b"a/2": b"two"})
            second = await store.commit({b"a/1": b"three"})
            assert second > first
            assert await store.get(b"a/1") == Entry(b"a/1", b"three", second)
            assert await store.get(b"a/2") == Entry(b"a/2", b"two", first)

    @pytest.mark.anyio
    async def test_none_deletes_and_may_delete_nothing(self, make_store: MakeStore) -> None:
        async with self.opened(make_store) as store:
            await store.commit({b"a/1": b"one", b"a/2": b"two"})
            await store.commit({b"a/1": None, b"a/3": None})
            assert await store.get(b"a/1") is None
            assert await all_of(store) == {b"a/2": b"two"}

    @pytest.mark.anyio
    async def test_an_empty_value_is_a_value(self, make_store: MakeStore) -> None:
        async with self.opened(make_store) as store:
            version = await store.commit({b"a/1": b""})
            assert await store.get(b"a/1") == Entry(b"a/1", b"", version)

    @pytest.mark.anyio
    async def test_any_bytes_may_be_keys_and_values(self, make_store: MakeStore) -> None:
        every = bytes(range(256))
        changes = {b"a/" + every: every[::-1], b"a/\x00": b"\x00", b"a/\xff\xff": b"\xff"}
        changes[b"a/" + b"k" * (MOST_KEY - 2)] = b"long"
        async with self.opened(make_store) as store:
            await store.commit(changes)
            assert await all_of(store) == changes
            assert await all_of(store, b"a/\xff") == {b"a/\xff\xff": b"\xff"}

    @pytest.mark.anyio
    async def test_a_value_may_be_large(self, make_store: MakeStore) -> None:
        value = bytes(range(256)) * (MOST_VALUE >> 8)
        async with self.opened(make_store) as store:
            await store.commit({b"a/large": value})
            found = await store.get(b"a/large")
            assert found is not None
            assert found.value == value

    @pytest.mark.anyio
    async def test_a_commit_may_have_many_keys(self, make_store: MakeStore) -> None:
        changes = {b"a/%d" % index: b"v%d" % index for index in range(2_000)}
        async with self.opened(make_store) as store:
            await store.commit(changes)
            assert await all_of(store) == changes

    # -- scanning (9)

    @pytest.mark.anyio
    async def test_a_scan_keeps_to_its_prefix(self, make_store: MakeStore) -> None:
        keys = [b"a", b"a/", b"a/1", b"a/2", b"a0", b"b/1", b"A/1", b"\xff", b"\xff\xff"]
        async with self.opened(make_store) as store:
            await store.commit({key: key for key in keys})
            for prefix in (b"", b"a", b"a/", b"a/1", b"b", b"\xff", b"c"):
                assert set(await all_of(store, prefix)) == {key for key in keys if key.startswith(prefix)}

    @pytest.mark.anyio
    async def test_a_prefix_is_no_pattern(self, make_store: MakeStore) -> None:
        async with self.opened(make_store) as store:
            await store.commit(dict.fromkeys((b"a%b", b"axb", b"a_b", b"a*b", b"a[b]"), b""))
            for prefix in (b"a%", b"a_", b"a*", b"a["):
                assert [key[:2] for key in await all_of(store, prefix)] == [prefix]

    @pytest.mark.anyio
    async def test_commits_during_a_scan_harm_nothing(self, make_store: MakeStore) -> None:
        before = {b"a/%04d" % index: b"old" for index in range(3_000)}
        async with self.opened(make_store) as store:
            await store.commit(before)
            seen: dict[bytes, bytes] = {}
            async for entry in store.scan(b"a/"):
                if len(seen) % 1_000 == 0:
                    await store.commit({b"a/new%d" % len(seen): b"new", b"a/%04d" % len(seen): b"newer"})
                assert entry.key not in seen
                seen[entry.key] = entry.value
            assert set(before) <= set(seen)

    # -- versions (6, 7)

    @pytest.mark.anyio
    async def test_a_commit_is_done_where_the_versions_hold(self, make_store: MakeStore) -> None:
        async with self.opened(make_store) as store:
            first = await store.commit({b"a/1": b"one"}, {b"a/1": ABSENT})
            second = await store.commit({b"a/1": b"two", b"a/2": b"x"}, {b"a/1": first, b"a/2": ABSENT})
            assert await store.get(b"a/1") == Entry(b"a/1", b"two", second)

    @pytest.mark.anyio
    async def test_nothing_is_done_where_one_version_does_not_hold(self, make_store: MakeStore) -> None:
        async with self.opened(make_store) as store:
            first = await store.commit({b"a/1": b"one"})
            second = await store.commit({b"a/1": b"two"})
            with pytest.raises(VersionConflict) as conflict:
                await store.commit({b"a/1": b"three", b"a/2": b"x"}, {b"a/2": ABSENT, b"a/1": first})
            assert (conflict.value.key, conflict.value.expected, conflict.value.found) == (
                b"a/1",
                first,
                second,
            )
            with pytest.raises(VersionConflict):
                await store.commit({b"a/3": b"x"}, {b"a/1": ABSENT})
            with pytest.raises(VersionConflict):
                await store.commit({b"a/3": b"x"}, {b"a/3": second})
            assert await all_of(store) == {b"a/1": b"two"}

    @pytest.mark.anyio
    async def test_a_commit_without_changes_checks_versions_and_writes_nothing(
        self, make_store: MakeStore
    ) -> None:
        async with self.opened(make_store) as store:
            version = await store.commit({b"a/1": b"one"})
            assert await store.commit({}, {b"a/1": version}) == version
            with pytest.raises(VersionConflict):
                await store.commit({}, {b"a/1": ABSENT})

    @pytest.mark.anyio
    async def test_a_deleted_key_is_absent_and_gets_a_version_it_never_had(
        self, make_store: MakeStore
    ) -> None:
        async with self.opened(make_store) as store:
            first = await store.commit({b"a/1": b"one"})
            second = await store.commit({b"a/1": None}, {b"a/1": first})
            third = await store.commit({b"a/1": b"one"}, {b"a/1": ABSENT})
            assert first < second < third
            with pytest.raises(VersionConflict):
                await store.commit({b"a/1": b"two"}, {b"a/1": first})

    @pytest.mark.anyio
    async def test_of_many_at_the_same_time_one_wins(self, make_store: MakeStore) -> None:
        async with self.opened(make_store) as store:
            version = await store.commit({b"a/1": b"start"})
            won: list[bytes] = []

            async def attempt(value: bytes) -> None:
                try:
                    await store.commit({b"a/1": value, b"a/" + value: b""}, {b"a/1": version})
                except VersionConflict:
                    return
                won.append(value)

            async with anyio.create_task_group() as tasks:
                for index in range(20):
                    tasks.start_soon(attempt, b"w%d" % index)
            assert len(won) == 1
            assert await all_of(store) == {b"a/1": won[0], b"a/" + won[0]: b""}

    @pytest.mark.anyio
    async def test_counting_together_loses_nothing(self, make_store: MakeStore) -> None:
        async with self.opened(make_store) as store:

            async def count() -> None:
                for _ in range(5):
                    while True:
                        entry = await store.get(b"a/n")
                        value = int(entry.value) if entry else 0
                        try:
                            await store.commit(
                                {b"a/n": b"%d" % (value + 1)}, {b"a/n": entry.version if entry else ABSENT}
                            )
                        except VersionConflict:
                            continue
                        break

            async with anyio.create_task_group() as tasks:
                for _ in range(5):
                    tasks.start_soon(count)
            assert await all_of(store) == {b"a/n": b"25"}

    @pytest.mark.anyio
    async def test_commits_at_the_same_time_are_all_done(self, make_store: MakeStore) -> None:
        async with self.opened(make_store) as store:
            versions: list[int] = []

            async def write(index: int) -> None:
                versions.append(await store.commit({b"a/%d" % index: b"v", b"b/%d" % index: b"w"}))

            async with anyio.create_task_group() as tasks:
                for index in range(50):
                    tasks.start_soon(write, index)
            assert len(set(versions)) == 50
            assert len(await all_of(store)) == 100

    # -- failing (11, 12)

    @pytest.mark.anyio
    async def test_a_commit_that_has_raised_lands_no_more(
        self, make_store: MakeStore, failing: Failing | None
    ) -> None:
        if failing is None:
            pytest.skip("needs the fixture `failing`, which makes commits fail")
        async with self.opened(make_store) as store:
            await store.commit({b"a/1": b"old", b"a/2": b"old"})
            with failing(store), pytest.raises(Exception) as failure:
                await store.commit({b"a/1": b"failed", b"a/2": None})
            found = await all_of(store)
            assert found in ({b"a/1": b"old", b"a/2": b"old"}, {b"a/1": b"failed"}), "part of it was done"
            with anyio.move_on_after(self.late_seconds):
                while True:
                    assert await all_of(store) == found, f"it landed after it had raised {failure.value!r}"
                    await anyio.sleep(0.01)

    # -- waiting (13, 14)

    @pytest.mark.anyio
    async def test_an_immediate_store_commits_without_waiting(self, make_store: MakeStore) -> None:
        async with self.opened(make_store) as store:
            if not store.capabilities().immediate:
                with pytest.raises(NotImplementedError):
                    store.commit_now({b"a/1": b"one"})
                return
            version = store.commit_now({b"a/1": b"one"}, {b"a/1": ABSENT})
            assert await store.get(b"a/1") == Entry(b"a/1", b"one", version)
            with pytest.raises(VersionConflict):
                store.commit_now({b"a/1": b"two"}, {b"a/1": ABSENT})

    @pytest.mark.anyio
    async def test_the_event_loop_goes_on_during_commits_and_scans(self, make_store: MakeStore) -> None:
        async with self.opened(make_store) as store:
            async with longest_turn() as longest:
                for part in range(20):
                    await store.commit({b"a/%d/%d" % (part, index): b"x" * 50 for index in range(500)})
                assert len(await all_of(store)) == 10_000
            assert longest.seconds < 0.25, (
                f"the event loop worked {longest.seconds * 1000:.0f} ms at a stretch"
            )

    @pytest.mark.anyio
    async def test_nothing_blocks_the_event_loop(self, make_store: MakeStore) -> None:
        """Commits, gets and scans, with blockbuster watching for file, network, SQLite and sleep calls."""
        blockbuster = pytest.importorskip("blockbuster", reason="needs blockbuster: pip install blockbuster")
        async with self.opened(make_store) as store:
            await self._use_everything(store, b"warm-up")  # imports and thread pools
            with blockbuster.blockbuster_ctx():
                await self._use_everything(store, b"watched")

    async def _use_everything(self, store: StateStore, key: bytes) -> None:
        version = await store.commit({key: b"x" * 5_000})
        await store.commit({key: b"y"}, {key: version})
        assert await store.get(key) is not None
        assert key in await all_of(store)
        await store.commit({key: None})

    # -- durable stores (5, 6)

    async def _kept(self, make_store: MakeStore, end: Callable[[StateStore], Awaitable[None]]) -> None:
        store = make_store()
        self.needs_durable(store)
        await store.open()
        await store.commit({b"a/1": b"one", b"a/2": b"two", b"a/3": b"three"})
        await store.commit({b"a/2": None})
        version = await store.commit({b"a/3": b"four", b"a/4": b""})
        await end(store)
        async with self.opened(make_store) as again:
            assert await all_of(again) == {b"a/1": b"one", b"a/3": b"four", b"a/4": b""}
            assert await again.get(b"a/3") == Entry(b"a/3", b"four", version)
            assert await again.commit({b"a/3": b"five"}, {b"a/3": version}) > version

    @pytest.mark.anyio
    async def test_everything_is_there_after_reopening(self, make_store: MakeStore) -> None:
        await self._kept(make_store, lambda store: store.close())

    @pytest.mark.anyio
    async def test_everything_is_there_after_a_crash(self, make_store: MakeStore) -> None:
        await self._kept(make_store, self.crash)

    @pytest.mark.anyio
    async def test_versions_go_on_after_reopening_though_the_last_commit_deleted(
        self, make_store: MakeStore
    ) -> None:
        store = make_store()
        self.needs_durable(store)
        await store.open()
        first = await store.commit({b"a/1": b"one"})
        second = await store.commit({b"a/1": None})
        await store.close()
        async with self.opened(make_store) as again:
            third = await again.commit({b"a/1": b"one"}, {b"a/1": ABSENT})
            assert first < second < third

    @pytest.mark.anyio
    async def test_many_reopenings_change_nothing(self, make_store: MakeStore) -> None:
        store = make_store()
        self.needs_durable(store)
        expected: dict[bytes, bytes] = {}
        for turn in range(5):
            store = make_store()
            await store.open()
            assert await all_of(store) == expected
            for index in range(40):
                key = b"a/%d" % ((turn * 7 + index) % 30)
                value = None if index % 3 == 0 else b"%d/%d" % (turn, index)
                await store.commit({key: value})
                expected = {k: v for k, v in {**expected, key: value}.items() if v is not None}
            await store.close()
