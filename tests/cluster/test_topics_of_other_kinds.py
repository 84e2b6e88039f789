"""Capabilities that differ from topic to topic."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import anyio
import pytest
from broker_kit import batch, view
from kgw_storage_memory.store import MemoryStore

from kgw_core.gateway import running
from kgw_core.log.producers import Appended
from kgw_core.pending import Pending
from kgw_core.spi.storage import Append, Capabilities, Topic
from kgw_core.testing.gateway import free_config

pytestmark = pytest.mark.anyio


class SomeWait(MemoryStore):
    """Never waits, but for topics whose names begin with ``slow``."""

    name = "some-wait"

    def capabilities(self, topic: Topic | None = None) -> Capabilities:
        waits = topic is not None and topic.name.startswith("slow")
        return replace(super().capabilities(topic), immediate=not waits)

    async def append_many(self, appends: Sequence[Append]) -> list[Sequence[int] | Exception]:
        await anyio.lowlevel.checkpoint()
        return await super().append_many(appends)


async def test_a_topic_may_wait_on_a_store_that_does_not() -> None:
    """Its appends go through the writers, which are there."""
    async with running(free_config(), store=SomeWait()) as gateway:
        for name in ("quick", "slow"):
            log = (await gateway.broker.catalog.create(name, 1)).partitions[0]
            await log.open()
            outcome = log.append(view(batch("a")), False)
            if isinstance(outcome, Pending):
                with anyio.fail_after(5):
                    outcome = await outcome.wait()
            assert outcome == Appended(0)
