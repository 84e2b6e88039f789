"""The ``kgw`` pytest plugin: every pytest run beside kgw-core loads it, so it imports nothing.

It sees to it that the assertions of the public suites explain themselves when they fail, and has fixtures.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from kgw_core.config import Config
    from kgw_core.testing.gateway import GatewayThread

pytest.register_assert_rewrite(
    "kgw_core.testing.ledger", "kgw_core.testing.log_store", "kgw_core.testing.state_store"
)


@pytest.fixture
def kgw_config() -> Config:
    """The settings of ``kgw_gateway``: ``kgw dev`` on a free port. Override it to have others."""
    from kgw_core.testing.gateway import free_config

    return free_config()


@pytest.fixture
def kgw_gateway(kgw_config: Config) -> Iterator[GatewayThread]:
    """An empty gateway for one test, in a thread of this process; clients connect to its ``bootstrap``."""
    from kgw_core.testing.gateway import gateway_thread

    with gateway_thread(kgw_config) as gateway:
        yield gateway
