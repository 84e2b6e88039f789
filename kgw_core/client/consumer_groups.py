"""ConsumerGroupDescribe: groups of the protocol of KIP-848, which other brokers have."""

from __future__ import annotations

from kgw_core.client.classic_groups import Described, Member
from kgw_core.client.cluster import Client, Node
from kgw_core.client.failures import check
from kgw_core.wire.messages.consumer_group_describe import ConsumerGroupDescribeRequest


async def describe(client: Client, group: str, node: Node) -> Described:
    """Ask its coordinator. :raises GroupIdNotFound: it has no such group. :raises KafkaError:"""
    (told,) = (await client.ask(ConsumerGroupDescribeRequest([group]), node)).groups
    check(told.error_code, told.error_message)
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
        for member in told.members
    ]
    return Described(
        group, "consumer", told.group_state, "consumer", told.assignor_name, node, sorted(members)
    )
