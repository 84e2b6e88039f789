"""The registry of the served APIs, their versions and handlers.

It collects the ``API`` that each module of :mod:`kgw_core.api` declares beside its handler. ApiVersions, the
dispatcher's version check and ``docs/reference/api-versions.md`` come from it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from kgw_core.broker import RequestContext
from kgw_core.errors import KafkaError
from kgw_core.wire import index

MODULES = (
    "alter_configs",
    "alter_partition_reassignments",
    "alter_replica_log_dirs",
    "api_versions",
    "create_partitions",
    "create_topics",
    "delete_groups",
    "delete_records",
    "delete_topics",
    "describe_cluster",
    "describe_configs",
    "describe_groups",
    "describe_log_dirs",
    "describe_producers",
    "describe_quorum",
    "describe_topic_partitions",
    "elect_leaders",
    "fetch",
    "find_coordinator",
    "heartbeat",
    "incremental_alter_configs",
    "init_producer_id",
    "join_group",
    "leave_group",
    "list_config_resources",
    "list_groups",
    "list_offsets",
    "list_partition_reassignments",
    "metadata",
    "offset_commit",
    "offset_delete",
    "offset_fetch",
    "offset_for_leader_epoch",
    "produce",
    "sync_group",
    "update_features",
)
"""The modules of this package that declare an ``API``."""

_KEYS = {api.name: api.key for api in index.APIS.values()}


@dataclass(frozen=True, slots=True)
class Api:
    """One served API.

    ``handle(request, context)`` returns the response, a Pending of it, a coroutine that returns it, or None
    if the client expects no answer. Hot handlers are plain functions, as a coroutine costs a task.
    ``refuse(request, error, context)`` returns the response for an error of the whole request. It must change
    nothing, as it may run in a thread.
    """

    name: str
    versions: tuple[int, int]
    handle: Callable[[Any, RequestContext], Any]
    refuse: Callable[[Any, KafkaError, RequestContext], Any]
    key: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "key", _KEYS[self.name])
        known = index.APIS[self.key]
        first, last = self.versions
        if not known.min_version <= first <= last <= known.latest_stable:
            raise ValueError(
                f"{self.name} {first}-{last} is not within the stable versions of the definitions"
            )


def load() -> Mapping[int, Api]:
    """All served APIs by key."""
    apis = [import_module(f"kgw_core.api.{name}").API for name in MODULES]
    return {api.key: api for api in sorted(apis, key=lambda api: api.key)}
