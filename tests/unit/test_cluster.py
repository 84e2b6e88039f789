"""The cluster's id is made once."""

from __future__ import annotations

import pytest

from kgw_core.cluster import KEY, cluster_id
from kgw_core.state.memory import MemoryStateStore

pytestmark = pytest.mark.anyio


async def test_an_id_is_made_once_and_kept() -> None:
    state = MemoryStateStore()
    made = await cluster_id(state, None)
    assert len(made) == 22, "16 bytes in URL-safe base64, as Kafka's"
    assert await cluster_id(state, None) == made
    assert await cluster_id(MemoryStateStore(), None) != made


async def test_a_configured_id_goes_before_the_one_that_was_made() -> None:
    state = MemoryStateStore()
    made = await cluster_id(state, None)
    assert await cluster_id(state, "mine") == "mine"
    entry = await state.get(KEY)
    assert entry is not None and entry.value.decode() == made
