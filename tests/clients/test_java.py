"""Apache Kafka's Java client: KafkaProducer, KafkaConsumer, AdminClient."""

from __future__ import annotations

import sys

import scenarios
import toolchains
from toolchains import Program

from kgw_core.testing.gateway import GatewayProcess

CLIENT = toolchains.JAVA
SCENARIOS = {
    "producer-idempotent": "the default producer, idempotent: every record once, at its offset",
    "producer-codecs": "every codec, small records and 400 kB of noise",
    "producer-acks": "acks 0, 1 and all write everything, in order",
    "producer-headers": "headers, nulls, create times; the log's own time where the topic asks for it",
    "producer-in-flight": "5,000 records in small batches, five requests in flight, stay in order",
    "producer-partitions": "keyed records are where the producer was told",
    "producer-too-large": "a record above max.message.bytes is refused, the next one is written",
    "producer-creates-topic": "a missing topic is created, unless its name is not allowed",
    "producer-recreated-topic": "a producer goes on when its topic is deleted and created again",
    "producer-transactional": "initTransactions fails at once with an exception that says why",
    "consumer-seek": "reading from any offset, also inside a batch; beginning and end",
    "consumer-times": "offsetsForTimes, of partitions with records and without",
    "consumer-ends": "beginningOffsets, endOffsets, partitionsFor, listTopics",
    "consumer-waits": "a waiting consumer gets a record as soon as it is written",
    "consumer-small-fetches": "fetches of one byte still bring every record",
    "consumer-partitions": "five partitions at once, some of them paused",
    "consumer-out-of-range": "an offset outside of the log is an error, or leads to a reset",
    "consumer-read-committed": "read_committed sees all that is not in a transaction",
    "admin-create-topics": "createTopics: configs, defaults, assignments, three replicas taken as one, ids",
    "admin-validate-only": "validateOnly looks at everything and creates nothing",
    "admin-create-refused": "createTopics refuses what is wrong, topic by topic",
    "admin-list-topics": "listTopics with ids",
    "admin-describe-topics": "describeTopics by name and by id",
    "admin-delete-topics": "deleteTopics by name and by id",
    "admin-describe-cluster": "describeCluster",
    "admin-describe-configs": "describeConfigs of a topic and of the broker",
    "admin-list-offsets": "listOffsets: earliest, latest, largest timestamp, by time, local and tiered",
    "admin-create-partitions": "createPartitions: new ones can be written, old ones keep what they have",
    "admin-delete-records": "deleteRecords inside a batch, of everything, beyond the end; offsets go on",
    "admin-alter-configs": "incrementalAlterConfigs: set, append, delete; the new limit holds at once",
    "admin-describe-logs": "describeLogDirs and describeProducers",
    "consumer-group": "subscribe by name and by pattern, commit with a note, go on there",
    "admin-list-config-resources": "listConfigResources of all types and of one; listClientMetricsResources",
    "admin-topic-pages": "describeTopics by pages of ten partitions",
    "admin-elect-leaders": "electLeaders, preferred and unclean: not needed",
    "admin-reassignments": "alterPartitionReassignments, listPartitionReassignments",
    "admin-replica-log-dirs": "describeReplicaLogDirs, alterReplicaLogDirs",
    "admin-features": "describeFeatures, updateFeatures",
    "admin-metadata-quorum": "describeMetadataQuorum",
    "admin-broker-configs": "incrementalAlterConfigs of a broker and of all: told with sources, deleted",
    "admin-groups-list": "listGroups by state, type and protocol; listConsumerGroups",
    "admin-groups-describe": "describeConsumerGroups, describeClassicGroups; the member's id and host",
    "admin-groups-offsets": "list-, alter- and deleteConsumerGroupOffsets, with members and without",
    "admin-groups-remove-members": "removeMembersFromConsumerGroup: one by its instance id, and all",
    "admin-groups-delete": "deleteConsumerGroups",
    "admin-absent": "what is not served fails at once, with an exception that says so",
}


def test_scenario(program: Program, gateway: GatewayProcess, scenario: str) -> None:
    """What the tables say of it."""
    scenarios.check(sys.modules[__name__], program, gateway.bootstrap, scenario)


def test_every_scenario_is_in_the_table(program: Program) -> None:
    """No scenario of the program is forgotten here."""
    scenarios.check_table(sys.modules[__name__], program)
