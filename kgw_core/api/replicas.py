"""Checks manual assignments of replicas in CreateTopics, CreatePartitions and reassignments."""

from __future__ import annotations

from collections import Counter

from kgw_core.broker import RequestContext
from kgw_core.errors import InvalidReplicaAssignment


def check_replicas(replicas: list[int], context: RequestContext) -> None:
    """Return if a partition may be assigned to the brokers ``replicas``.

    ``topics.replication_factor = "accept"`` has no effect here, as it is about a plain number.

    :raises InvalidReplicaAssignment: there is no broker, one occurs twice, or one is unknown.
    """
    if not replicas:
        raise InvalidReplicaAssignment("The manual partition assignment includes an empty replica list.")
    present = {node.id for node in context.broker.placement.nodes(context.client)}
    for broker, times in sorted(Counter(replicas).items()):
        if broker not in present:
            raise InvalidReplicaAssignment(
                f"The manual partition assignment includes broker {broker}, but no such broker is registered."
            )
        if times > 1:
            raise InvalidReplicaAssignment(
                f"The manual partition assignment includes the broker {broker} more than once."
            )
