"""No room commits what the contract of the StateStore rules out."""

from __future__ import annotations

import pytest
from kgw_storage_memory.store import MemoryStore

from kgw_core.errors import MessageTooLarge
from kgw_core.gateway import running
from kgw_core.spi.state import MOST_KEY, MOST_VALUE, Changes
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
