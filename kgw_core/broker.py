"""What handlers get: the parts of a running gateway, and what is known of one request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from kgw_core.clock import Clock
from kgw_core.config import Config
from kgw_core.errors import KafkaError
from kgw_core.events import Client
from kgw_core.log.manager import LogManager
from kgw_core.log.partition import PartitionLog
from kgw_core.placement import Placement
from kgw_core.producer_ids import ProducerIds
from kgw_core.topics.catalog import Catalog


@dataclass(slots=True)
class Broker:
    """The parts that handlers work with. No logic, no I/O.

    ``spawn`` starts a coroutine that outlives the request. ``draining`` turns true when the gateway
    stops: nothing should wait long any more.
    """

    config: Config
    cluster_id: str
    catalog: Catalog[PartitionLog]
    logs: LogManager
    placement: Placement
    producer_ids: ProducerIds
    clock: Clock
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    draining: bool = False


class RequestContext:
    """One request. ``stable``: its bytes stay as they are and may be kept, as those of a frame of its own."""

    __slots__ = ("api", "broker", "client", "stable", "version")

    def __init__(self, broker: Broker, client: Client, api: str, version: int, stable: bool) -> None:
        self.broker = broker
        self.client = client
        self.api = api
        self.version = version
        self.stable = stable

    def failed(self, error: KafkaError, where: str = "") -> int:
        """Report that the answer carries ``error`` for ``where``; return its code."""
        self.client.sent_error(self.api, error, where)
        return error.code
