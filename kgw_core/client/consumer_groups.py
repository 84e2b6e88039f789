"""ConsumerGroupDescribe: describes groups of the protocol of KIP-848, which other brokers serve."""

from __future__ import annotations

from kgw_core.client.classic_groups import Described, Member
from kgw_core.client.cluster import Client, Node
from kgw_core.client.failures import check
from kgw_core.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest


async def describe(client: Client, group: str, node: Node) -> Described:
    """Ask the group's coordinator ``node``.

    :raises GroupIdNotFound: it has no such group.
    :raises KafkaError: another error of the broker.
    """
    (found,) = (await client.ask(ConsumerGroupDescribeRequest([group]), node)).groups
    check(found.error_code, found.error_message)
    members = [
        Member(
            member.member_id,
            member.instance_id,
            member.client_id,
            member.client_host,
            sorted(
                (topic.topic_name, index)
                for topic in member.assignment.topic_partitions
                for index in topic.partitions
            ),
        )
        for member in found.members
    ]
    return Described(
        group, "consumer", found.group_state, "consumer", found.assignor_name, node, sorted(members)
    )
