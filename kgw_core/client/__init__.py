"""A small Kafka admin client over :mod:`kgw_core.wire`, for the commands, the test kit and the console.

It speaks to any broker from 0.10 on, in the newest versions that both know, and keeps no state but its
connections. :class:`Client` is the cluster; ``groups`` and ``offsets`` have the requests.
"""

from __future__ import annotations

from kgw_core.client.cluster import Client, Node
from kgw_core.client.failures import ClientError, Unreachable

__all__ = ["Client", "ClientError", "Node", "Unreachable"]
