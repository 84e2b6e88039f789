"""Broker configs set at run time: kept whole, applied when they are kept, whatever the state does."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any

import anyio
import pytest

from kgw_core.configs.dynamic import ALL, PREFIX, DynamicConfigs
from kgw_core.errors import InvalidRequest, KafkaStorageError, NotController, RequestTimedOut
from kgw_core.spi.state import NO_VERSIONS, Changes, StateCapabilities, Versions
from kgw_core.state import writer as writer_module
from kgw_core.state.memory import MemoryStateStore
from kgw_core.topics.levels import Level
from kgw_core.topics.values import STATIC_BROKER_CONFIG

pytestmark = pytest.mark.anyio

STATIC = Level(STATIC_BROKER_CONFIG, {"message.max.bytes": "1000"})


class Slow(MemoryStateStore):
    """A store that waits. The commit of a config meets ``failures``: an error, and whether it is written all
    the same; and it waits for ``held``."""

    def __init__(self) -> None:
        super().__init__()
        self.failures: list[tuple[Exception, bool]] = []
        self.held: anyio.Event | None = None
        self.began = anyio.Event()

    def capabilities(self) -> StateCapabilities:
        return StateCapabilities()

    async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
        await anyio.lowlevel.checkpoint()
        if not any(key.startswith(PREFIX) for key in changes):
            return await super().commit(changes, if_versions)
        self.began.set()
        if self.held is not None:
            await self.held.wait()
        error, written = self.failures.pop(0) if self.failures else (None, True)
        version = await super().commit(changes, if_versions) if written else 0
        if error is not None:
            raise error
        return version

    async def kept(self, name: str) -> Any:
        entry = await self.get(PREFIX + name.encode())
        return json.loads(entry.value) if entry is not None else None


@asynccontextmanager
async def configs(store: MemoryStateStore, seconds: float = 10.0) -> AsyncIterator[DynamicConfigs]:
    """Those of broker 1, loaded; ``applied`` has what was applied, each time."""
    async with anyio.create_task_group() as tasks:

        def spawn(work: Coroutine[Any, Any, None]) -> None:
            async def do() -> None:
                await work

            tasks.start_soon(do)

        made = DynamicConfigs(store, spawn, "1", STATIC, seconds)
        await made.load()
        yield made


def to(**values: str) -> Callable[[Mapping[str, str]], dict[str, str]]:
    """Sets these besides what is set; names with '_' for '.'."""
    return lambda before: {**before, **{name.replace("_", "."): text for name, text in values.items()}}


async def test_a_change_is_kept_and_there_after_a_restart(caplog: pytest.LogCaptureFixture) -> None:
    """And the log says so: the settings alone do not tell what is in force."""
    caplog.set_level("INFO")
    store = Slow()
    async with configs(store) as before:
        await before.alter(ALL, to(message_max_bytes="2000", log_retention_ms="5"))
        await before.alter("1", to(message_max_bytes="3000"))
    caplog.clear()
    async with configs(store) as after:
        assert caplog.messages == [
            "configs of broker 1, set at run time: message.max.bytes=3000",
            "configs of all brokers, set at run time: message.max.bytes=2000, log.retention.ms=5",
        ]
        assert after.levels == before.levels
        assert [dict(level.values) for level in after.levels] == [
            {"message.max.bytes": "3000"},
            {"message.max.bytes": "2000", "log.retention.ms": "5"},
            {"message.max.bytes": "1000"},
        ]
        assert after.typed == {"message.max.bytes": 3000, "log.retention.ms": 5}
        await after.alter("1", lambda _: {})
    assert await store.kept("1") is None, "nothing is left of what nobody sets"
    assert await store.kept(ALL) == {"message.max.bytes": "2000", "log.retention.ms": "5"}


async def test_a_value_is_kept_as_it_is_read() -> None:
    store = MemoryStateStore()
    async with configs(store) as made:
        await made.alter("1", to(log_retention_ms=" +5 ", log_cleanup_policy="delete, compact,delete"))
        assert made.level("1").values == {"log.retention.ms": "5", "log.cleanup.policy": "delete,compact"}


async def test_it_is_applied_when_it_is_kept_and_before_it_is_answered() -> None:
    store = Slow()
    async with configs(store) as made:
        order = []

        async def apply() -> None:
            order.append((made.typed, await store.kept("1")))

        made.apply = apply
        await made.alter("1", to(message_max_bytes="2000"))
        order.append(("answered", None))
    assert order == [({"message.max.bytes": 2000}, {"message.max.bytes": "2000"}), ("answered", None)]


async def test_what_is_only_checked_is_neither_kept_nor_applied() -> None:
    store = Slow()
    async with configs(store) as made:
        await made.alter("1", to(message_max_bytes="2000"), check_only=True)
        with pytest.raises(InvalidRequest, match="Invalid value"):
            await made.alter("1", to(message_max_bytes="x"), check_only=True)
        assert made.typed == {}
    assert await store.kept("1") is None


async def test_a_state_that_fails_changes_nothing() -> None:
    store = Slow()
    async with configs(store) as made:
        await made.alter("1", to(message_max_bytes="2000"))
        store.failures = [(KafkaStorageError("disk"), False)]
        with pytest.raises(KafkaStorageError):
            await made.alter("1", to(message_max_bytes="3000"))
        assert made.typed == {"message.max.bytes": 2000}
        await made.alter("1", to(log_retention_ms="7"))
    assert await store.kept("1") == {"message.max.bytes": "2000", "log.retention.ms": "7"}


async def test_an_immediate_state_that_fails_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    store = MemoryStateStore()

    def fail(*_: Any) -> int:
        raise OSError("disk")

    async with configs(store) as made:
        monkeypatch.setattr(store, "commit_now", fail)
        with pytest.raises(KafkaStorageError):
            await made.alter("1", to(message_max_bytes="3000"))
        assert made.typed == {}


@pytest.mark.parametrize("written", [True, False])
async def test_an_unknown_outcome_is_settled_before_anybody_is_told(
    written: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_SECONDS", 0)
    store = Slow()
    async with configs(store) as made:
        store.failures = [(OSError("who knows"), written)]
        if written:
            await made.alter("1", to(message_max_bytes="3000"))
        else:
            with pytest.raises(KafkaStorageError):
                await made.alter("1", to(message_max_bytes="3000"))
        assert made.typed == ({"message.max.bytes": 3000} if written else {})
    assert await store.kept("1") == ({"message.max.bytes": "3000"} if written else None)


async def test_a_state_that_is_late_is_not_waited_for_and_its_outcome_counts_all_the_same() -> None:
    store = Slow()
    async with configs(store, seconds=0.01) as made:
        store.held = anyio.Event()
        with pytest.raises(RequestTimedOut):
            await made.alter("1", to(message_max_bytes="3000"))
        assert made.typed == {}, "it may not come to be"
        with pytest.raises(RequestTimedOut):
            await made.alter("1", to(log_retention_ms="7"))
        with pytest.raises(RequestTimedOut):
            await made.alter("1", to(message_max_bytes="x"), check_only=True)
        store.held.set()
        await made.stop()
    assert made.typed == {"message.max.bytes": 3000}, "what waited for its turn in vain is not done later"
    assert await store.kept("1") == {"message.max.bytes": "3000"}


async def test_changes_at_the_same_time_are_made_one_after_the_other() -> None:
    store = Slow()
    async with configs(store) as made, anyio.create_task_group() as tasks:
        for change in (to(message_max_bytes="3000"), to(log_retention_ms="7"), to(log_retention_bytes="9")):
            tasks.start_soon(made.alter, "1", change)
    assert await store.kept("1") == {
        "message.max.bytes": "3000",
        "log.retention.ms": "7",
        "log.retention.bytes": "9",
    }


async def test_a_change_goes_on_where_who_asked_for_it_has_gone() -> None:
    store = Slow()
    store.held = anyio.Event()
    async with configs(store) as made:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(made.alter, "1", to(message_max_bytes="3000"))
            await store.began.wait()
            tasks.cancel_scope.cancel()
        store.held.set()
    assert made.typed == {"message.max.bytes": 3000}


async def test_where_another_gateway_has_the_state_nothing_is_changed() -> None:
    store = Slow()
    async with configs(store) as first:
        await first.alter("1", to(message_max_bytes="2000"))
        async with configs(store) as second:
            await second.alter("1", to(message_max_bytes="3000"))
            with pytest.raises(NotController):
                await first.alter("1", to(message_max_bytes="4000"))
            assert first.typed == {"message.max.bytes": 2000}
    assert await store.kept("1") == {"message.max.bytes": "3000"}


async def test_who_lost_the_state_to_another_gateway_may_ask_again() -> None:
    """The next attempt begins with what the other one has set, and with what it has taken back."""
    store = Slow()
    async with configs(store) as first:
        await first.alter("1", to(message_max_bytes="2000"))
        await first.alter(ALL, to(log_retention_bytes="9"))
        async with configs(store) as second:
            await second.alter("1", to(message_max_bytes="3000"))
            await second.alter(ALL, lambda _: {})
            with pytest.raises(NotController):
                await first.alter("1", to(log_retention_ms="7"))
            await first.alter("1", to(log_retention_ms="7"))
            assert first.typed == {"message.max.bytes": 3000, "log.retention.ms": 7}
            with pytest.raises(NotController):
                await second.alter("1", lambda _: {})
    assert await store.kept("1") == {"message.max.bytes": "3000", "log.retention.ms": "7"}


async def test_a_state_that_cannot_be_written_at_the_start_is_taken_over_before_the_first_change() -> None:
    """The state fails, as on a full disk: the gateway starts, and later changes count."""

    class Full(Slow):
        full = True

        async def commit(self, changes: Changes, if_versions: Versions = NO_VERSIONS) -> int:
            if self.full:
                raise KafkaStorageError("the disk is full")
            return await super().commit(changes, if_versions)

    store = Full()
    store.full = False
    await store.commit({PREFIX + b"1": b'{"message.max.bytes": "2000"}'})
    store.full = True
    async with configs(store) as made:
        assert made.typed == {"message.max.bytes": 2000}
        with pytest.raises(KafkaStorageError):
            await made.alter("1", to(log_retention_ms="7"))
        store.full = False
        await store.commit({PREFIX + b"1": b'{"message.max.bytes": "3000"}'})
        await made.alter("1", to(log_retention_ms="7"))
        assert made.typed == {"message.max.bytes": 3000, "log.retention.ms": 7}


async def test_a_fault_when_it_is_applied_is_told_and_does_not_hold_up_the_next() -> None:
    store = Slow()
    async with configs(store) as made:

        async def fail() -> None:
            raise RuntimeError("a fault")

        made.apply = fail
        with pytest.raises(RuntimeError):
            await made.alter("1", to(message_max_bytes="2000"))
        with pytest.raises(RuntimeError):
            await made.alter("1", to(message_max_bytes="3000"))
        assert made.typed == {"message.max.bytes": 3000}


async def test_what_was_kept_and_can_no_more_be_is_left_out(caplog: pytest.LogCaptureFixture) -> None:
    store = MemoryStateStore()
    kept = {"message.max.bytes": "2000", "log.retention.ms": "0", "from.another.version": "1"}
    await store.commit({PREFIX + b"1": json.dumps(kept).encode(), PREFIX: b"garbage"})
    async with configs(store) as made:
        assert made.typed == {"message.max.bytes": 2000}
    assert len(caplog.messages) == 3
    assert all("is left out" in message for message in caplog.messages)
    assert "of all brokers" in caplog.messages[-1]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            {"num.partitions": "3"},
            r"Cannot update these configs dynamically: \[num.partitions\]: the gateway takes",
        ),
        ({"node.id": "3", "broker.rack": "a"}, r"dynamically: \[broker.rack, node.id\]"),
        ({"retention.ms": "3"}, r"\[retention.ms\]: of brokers, retention.ms is called log.retention.ms"),
        ({"foo.bar": "3"}, r"\[foo.bar\]: the gateway knows no broker config foo.bar"),
        ({"log.retention.ms": "0"}, "must be a whole number of at least 1, or -1"),
        (
            {"log.cleaner.min.compaction.lag.ms": "9", "log.cleaner.max.compaction.lag.ms": "8"},
            "conflict topic config setting",
        ),
    ],
)
async def test_a_refusal_names_what_is_wrong(values: dict[str, str], message: str) -> None:
    async with configs(MemoryStateStore()) as made:
        with pytest.raises(InvalidRequest, match=message):
            await made.alter(ALL, lambda _: values)


async def test_levels_are_checked_together() -> None:
    """A config for all brokers may not contradict one for this broker."""
    async with configs(MemoryStateStore()) as made:
        await made.alter("1", to(log_cleaner_min_compaction_lag_ms="9"))
        with pytest.raises(InvalidRequest, match="conflict"):
            await made.alter(ALL, to(log_cleaner_max_compaction_lag_ms="8"))
        await made.alter("1", to(log_cleaner_min_compaction_lag_ms="8"))
        await made.alter(ALL, to(log_cleaner_max_compaction_lag_ms="8"))
