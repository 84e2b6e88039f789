"""The arguments of handlers: the parts of a running gateway, and the context of a request."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any

from kgw_core.background import Health
from kgw_core.clock import Clock
from kgw_core.config import Config
from kgw_core.configs.dynamic import DynamicConfigs
from kgw_core.errors import KafkaError, UnknownServerError, forget_frames
from kgw_core.events import Client
from kgw_core.features import Features
from kgw_core.fetching.sessions import FetchSessions
from kgw_core.groups.service import GroupService
from kgw_core.log.manager import LogManager
from kgw_core.log.partition import PartitionLog
from kgw_core.placement import Placement
from kgw_core.producer_ids import ProducerIds
from kgw_core.state.promised import PromisedState
from kgw_core.topics.auto_creation import AutoCreation
from kgw_core.topics.catalog import Catalog


@dataclass(slots=True)
class Broker:
    """The parts that handlers use. No logic, no I/O.

    ``spawn`` starts a coroutine that outlives the request. ``health`` has the work that fails now.
    ``draining`` is true when the gateway stops: long polls have to end.
    """

    config: Config
    configs: DynamicConfigs
    features: Features
    state: PromisedState
    cluster_id: str
    catalog: Catalog[PartitionLog]
    auto_creation: AutoCreation
    logs: LogManager
    groups: GroupService
    placement: Placement
    producer_ids: ProducerIds
    clock: Clock
    spawn: Callable[[Coroutine[Any, Any, None]], object]
    health: Health = field(default_factory=Health)
    draining: bool = False
    fetch_sessions: FetchSessions = field(default_factory=FetchSessions)


class RequestContext:
    """One request.

    ``own_bytes`` is the size of the request's own memory, whose bytes may be kept; 0 if the bytes are gone
    after the call. ``entries`` is how many entries its arrays have; 0 if they were not counted, because the
    frame is small.
    """

    __slots__ = ("api", "broker", "client", "entries", "own_bytes", "version")

    def __init__(self, broker: Broker, client: Client, api: str, version: int, own_bytes: int = 0) -> None:
        self.broker = broker
        self.client = client
        self.api = api
        self.version = version
        self.own_bytes = own_bytes
        self.entries = 0

    def failed(self, error: KafkaError, where: str = "") -> int:
        """Report that the answer has ``error`` for ``where``; return its code. Drops its traceback."""
        self.client.sent_error(self.api, error, where)
        forget_frames(error)
        return error.code

    def caught(self, error: Exception, where: str) -> KafkaError:
        """Report that the answer has ``error`` for ``where``; return the error for the client.

        Any error but a KafkaError is a fault of the gateway. It is logged, and becomes UNKNOWN_SERVER_ERROR.
        """
        if not isinstance(error, KafkaError):
            self.client.crashed(self.api, error)
            error = UnknownServerError(f"the gateway failed at {where}: {error!r}")
        self.failed(error, where)
        return error
