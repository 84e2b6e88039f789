"""No part of the core commits changes that the contract of the StateStore forbids."""

from __future__ import annotations

import pytest
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import MessageTooLarge
from kgw_core.gateway import running
from kgw_core.spi.state import MOST_KEY, MOST_VALUE, Changes, VersionConflict
from kgw_core.state.memory import MemoryStateStore
from kgw_core.state.promised import PromisedState
from kgw_core.testing.gateway import free_config
from kgw_core.testing.state_store import MakeStore, StateStoreSuite

pytestmark = pytest.mark.anyio

TOO_MUCH: list[Changes] = [
    {b"a/1": bytes(MOST_VALUE + 1)},
    {b"a/1": b"1", b"a/" + bytes(MOST_KEY - 1): b"2"},
    {b"": b"1"},
    {b"": None},
]


class TestPromised(StateStoreSuite):
    @pytest.fixture
    def make_store(self) -> MakeStore:
        return lambda: PromisedState(MemoryStateStore())


@pytest.mark.parametrize("changes", TOO_MUCH, ids=range(len(TOO_MUCH)))
async def test_what_is_too_large_is_refused_as_a_whole(changes: Changes) -> None:
    inner = MemoryStateStore()
    state = PromisedState(inner)
    with pytest.raises(MessageTooLarge):
        await state.commit(changes)
    with pytest.raises(MessageTooLarge):
        state.commit_now(changes)
    assert [entry async for entry in inner.scan(b"")] == []


async def test_the_rooms_of_a_gateway_have_no_other_way() -> None:
    async with running(free_config(), store=MemoryStore()) as gateway:
        state = gateway.broker.groups.writer.store
        assert isinstance(state, PromisedState)
        assert state.name == "memory"
        assert gateway.broker.producer_ids._state is state


async def test_the_version_of_the_last_commit_is_known_from_the_beginning() -> None:
    inner = MemoryStateStore()
    before = await inner.commit({b"a/1": b"1"})
    state = PromisedState(inner)
    await state.open()
    assert state.version == before
    for commit in range(2):
        version = state.commit_now({b"a/1": b"2"}) if commit else await state.commit({b"a/1": b"2"})
        assert state.version == version > before
    with pytest.raises(VersionConflict):
        await state.commit({b"a/1": b"3"}, {b"a/1": before})
    assert state.version == version
