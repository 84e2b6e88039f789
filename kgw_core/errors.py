"""One exception class for each Kafka error, with its code.

They are raised where an error is found, and become responses in one place (:mod:`kgw_core.server.responses`).
The codes, names and retriability are Kafka's (``org.apache.kafka.common.protocol.Errors``, 4.4.0).
"""

from __future__ import annotations

from typing import ClassVar, Final

MOST_SAID: Final = 2000
"""The most characters of a message. It may have names of any length from a client, and a string of a response
has at most 32,767 bytes."""


class KafkaError(Exception):
    """A failure with an error code for the client.

    ``str(error)`` is the message for people. It says what was found, and is sent if the response has a field
    for it. A long message is cut.
    """

    code: ClassVar[int] = -1
    name: ClassVar[str] = "UNKNOWN_SERVER_ERROR"
    retriable: ClassVar[bool] = False

    def __str__(self) -> str:
        text = super().__str__()
        return text if len(text) <= MOST_SAID else f"{text[:MOST_SAID]}… ({len(text)} characters)"


class Unanswerable(Exception):
    """A request cannot be answered. The connection closes, and the message is logged as the reason."""


def forget_frames(error: BaseException | None) -> None:
    """Drop the tracebacks of a handled error and of its causes.

    Their frames mostly refer to the error itself. So without this only CPython's garbage collector would free
    the frames, with the request and the records in them.
    """
    while error is not None:
        cause = error.__cause__ or error.__context__
        error.__traceback__ = error.__cause__ = error.__context__ = None
        error = cause


NONE = 0
"""The code for no error."""


class UnknownServerError(KafkaError):
    code = -1
    name = "UNKNOWN_SERVER_ERROR"


class OffsetOutOfRange(KafkaError):
    code = 1
    name = "OFFSET_OUT_OF_RANGE"


class CorruptMessage(KafkaError):
    code = 2
    name = "CORRUPT_MESSAGE"
    retriable = True


class UnknownTopicOrPartition(KafkaError):
    code = 3
    name = "UNKNOWN_TOPIC_OR_PARTITION"
    retriable = True


class InvalidFetchSize(KafkaError):
    code = 4
    name = "INVALID_FETCH_SIZE"


class LeaderNotAvailable(KafkaError):
    code = 5
    name = "LEADER_NOT_AVAILABLE"
    retriable = True


class NotLeaderOrFollower(KafkaError):
    code = 6
    name = "NOT_LEADER_OR_FOLLOWER"
    retriable = True


class RequestTimedOut(KafkaError):
    code = 7
    name = "REQUEST_TIMED_OUT"
    retriable = True


class BrokerNotAvailable(KafkaError):
    code = 8
    name = "BROKER_NOT_AVAILABLE"


class ReplicaNotAvailable(KafkaError):
    code = 9
    name = "REPLICA_NOT_AVAILABLE"
    retriable = True


class MessageTooLarge(KafkaError):
    code = 10
    name = "MESSAGE_TOO_LARGE"


class StaleControllerEpoch(KafkaError):
    code = 11
    name = "STALE_CONTROLLER_EPOCH"


class OffsetMetadataTooLarge(KafkaError):
    code = 12
    name = "OFFSET_METADATA_TOO_LARGE"


class NetworkException(KafkaError):
    code = 13
    name = "NETWORK_EXCEPTION"
    retriable = True


class CoordinatorLoadInProgress(KafkaError):
    code = 14
    name = "COORDINATOR_LOAD_IN_PROGRESS"
    retriable = True


class CoordinatorNotAvailable(KafkaError):
    code = 15
    name = "COORDINATOR_NOT_AVAILABLE"
    retriable = True


class NotCoordinator(KafkaError):
    code = 16
    name = "NOT_COORDINATOR"
    retriable = True


class InvalidTopicException(KafkaError):
    code = 17
    name = "INVALID_TOPIC_EXCEPTION"


class RecordListTooLarge(KafkaError):
    code = 18
    name = "RECORD_LIST_TOO_LARGE"


class NotEnoughReplicas(KafkaError):
    code = 19
    name = "NOT_ENOUGH_REPLICAS"
    retriable = True


class NotEnoughReplicasAfterAppend(KafkaError):
    code = 20
    name = "NOT_ENOUGH_REPLICAS_AFTER_APPEND"
    retriable = True


class InvalidRequiredAcks(KafkaError):
    code = 21
    name = "INVALID_REQUIRED_ACKS"


class IllegalGeneration(KafkaError):
    code = 22
    name = "ILLEGAL_GENERATION"


class InconsistentGroupProtocol(KafkaError):
    code = 23
    name = "INCONSISTENT_GROUP_PROTOCOL"


class InvalidGroupId(KafkaError):
    code = 24
    name = "INVALID_GROUP_ID"


class UnknownMemberId(KafkaError):
    code = 25
    name = "UNKNOWN_MEMBER_ID"


class InvalidSessionTimeout(KafkaError):
    code = 26
    name = "INVALID_SESSION_TIMEOUT"


class RebalanceInProgress(KafkaError):
    code = 27
    name = "REBALANCE_IN_PROGRESS"


class InvalidCommitOffsetSize(KafkaError):
    code = 28
    name = "INVALID_COMMIT_OFFSET_SIZE"


class TopicAuthorizationFailed(KafkaError):
    code = 29
    name = "TOPIC_AUTHORIZATION_FAILED"


class GroupAuthorizationFailed(KafkaError):
    code = 30
    name = "GROUP_AUTHORIZATION_FAILED"


class ClusterAuthorizationFailed(KafkaError):
    code = 31
    name = "CLUSTER_AUTHORIZATION_FAILED"


class InvalidTimestamp(KafkaError):
    code = 32
    name = "INVALID_TIMESTAMP"


class UnsupportedSaslMechanism(KafkaError):
    code = 33
    name = "UNSUPPORTED_SASL_MECHANISM"


class IllegalSaslState(KafkaError):
    code = 34
    name = "ILLEGAL_SASL_STATE"


class UnsupportedVersion(KafkaError):
    code = 35
    name = "UNSUPPORTED_VERSION"


class TopicAlreadyExists(KafkaError):
    code = 36
    name = "TOPIC_ALREADY_EXISTS"


class InvalidPartitions(KafkaError):
    code = 37
    name = "INVALID_PARTITIONS"


class InvalidReplicationFactor(KafkaError):
    code = 38
    name = "INVALID_REPLICATION_FACTOR"


class InvalidReplicaAssignment(KafkaError):
    code = 39
    name = "INVALID_REPLICA_ASSIGNMENT"


class InvalidConfig(KafkaError):
    code = 40
    name = "INVALID_CONFIG"


class NotController(KafkaError):
    code = 41
    name = "NOT_CONTROLLER"
    retriable = True


class InvalidRequest(KafkaError):
    code = 42
    name = "INVALID_REQUEST"


class UnsupportedForMessageFormat(KafkaError):
    code = 43
    name = "UNSUPPORTED_FOR_MESSAGE_FORMAT"


class PolicyViolation(KafkaError):
    code = 44
    name = "POLICY_VIOLATION"


class OutOfOrderSequenceNumber(KafkaError):
    code = 45
    name = "OUT_OF_ORDER_SEQUENCE_NUMBER"


class DuplicateSequenceNumber(KafkaError):
    code = 46
    name = "DUPLICATE_SEQUENCE_NUMBER"


class InvalidProducerEpoch(KafkaError):
    code = 47
    name = "INVALID_PRODUCER_EPOCH"


class InvalidTxnState(KafkaError):
    code = 48
    name = "INVALID_TXN_STATE"


class InvalidProducerIdMapping(KafkaError):
    code = 49
    name = "INVALID_PRODUCER_ID_MAPPING"


class InvalidTransactionTimeout(KafkaError):
    code = 50
    name = "INVALID_TRANSACTION_TIMEOUT"


class ConcurrentTransactions(KafkaError):
    code = 51
    name = "CONCURRENT_TRANSACTIONS"
    retriable = True


class TransactionCoordinatorFenced(KafkaError):
    code = 52
    name = "TRANSACTION_COORDINATOR_FENCED"


class TransactionalIdAuthorizationFailed(KafkaError):
    code = 53
    name = "TRANSACTIONAL_ID_AUTHORIZATION_FAILED"


class SecurityDisabled(KafkaError):
    code = 54
    name = "SECURITY_DISABLED"


class OperationNotAttempted(KafkaError):
    code = 55
    name = "OPERATION_NOT_ATTEMPTED"


class KafkaStorageError(KafkaError):
    code = 56
    name = "KAFKA_STORAGE_ERROR"
    retriable = True


class LogDirNotFound(KafkaError):
    code = 57
    name = "LOG_DIR_NOT_FOUND"


class SaslAuthenticationFailed(KafkaError):
    code = 58
    name = "SASL_AUTHENTICATION_FAILED"


class UnknownProducerId(KafkaError):
    code = 59
    name = "UNKNOWN_PRODUCER_ID"


class ReassignmentInProgress(KafkaError):
    code = 60
    name = "REASSIGNMENT_IN_PROGRESS"


class DelegationTokenAuthDisabled(KafkaError):
    code = 61
    name = "DELEGATION_TOKEN_AUTH_DISABLED"


class DelegationTokenNotFound(KafkaError):
    code = 62
    name = "DELEGATION_TOKEN_NOT_FOUND"


class DelegationTokenOwnerMismatch(KafkaError):
    code = 63
    name = "DELEGATION_TOKEN_OWNER_MISMATCH"


class DelegationTokenRequestNotAllowed(KafkaError):
    code = 64
    name = "DELEGATION_TOKEN_REQUEST_NOT_ALLOWED"


class DelegationTokenAuthorizationFailed(KafkaError):
    code = 65
    name = "DELEGATION_TOKEN_AUTHORIZATION_FAILED"


class DelegationTokenExpired(KafkaError):
    code = 66
    name = "DELEGATION_TOKEN_EXPIRED"


class InvalidPrincipalType(KafkaError):
    code = 67
    name = "INVALID_PRINCIPAL_TYPE"


class NonEmptyGroup(KafkaError):
    code = 68
    name = "NON_EMPTY_GROUP"


class GroupIdNotFound(KafkaError):
    code = 69
    name = "GROUP_ID_NOT_FOUND"


class FetchSessionIdNotFound(KafkaError):
    code = 70
    name = "FETCH_SESSION_ID_NOT_FOUND"
    retriable = True


class InvalidFetchSessionEpoch(KafkaError):
    code = 71
    name = "INVALID_FETCH_SESSION_EPOCH"
    retriable = True


class ListenerNotFound(KafkaError):
    code = 72
    name = "LISTENER_NOT_FOUND"
    retriable = True


class TopicDeletionDisabled(KafkaError):
    code = 73
    name = "TOPIC_DELETION_DISABLED"


class FencedLeaderEpoch(KafkaError):
    code = 74
    name = "FENCED_LEADER_EPOCH"
    retriable = True


class UnknownLeaderEpoch(KafkaError):
    code = 75
    name = "UNKNOWN_LEADER_EPOCH"
    retriable = True


class UnsupportedCompressionType(KafkaError):
    code = 76
    name = "UNSUPPORTED_COMPRESSION_TYPE"


class StaleBrokerEpoch(KafkaError):
    code = 77
    name = "STALE_BROKER_EPOCH"


class OffsetNotAvailable(KafkaError):
    code = 78
    name = "OFFSET_NOT_AVAILABLE"
    retriable = True


class MemberIdRequired(KafkaError):
    code = 79
    name = "MEMBER_ID_REQUIRED"


class PreferredLeaderNotAvailable(KafkaError):
    code = 80
    name = "PREFERRED_LEADER_NOT_AVAILABLE"
    retriable = True


class GroupMaxSizeReached(KafkaError):
    code = 81
    name = "GROUP_MAX_SIZE_REACHED"


class FencedInstanceId(KafkaError):
    code = 82
    name = "FENCED_INSTANCE_ID"


class EligibleLeadersNotAvailable(KafkaError):
    code = 83
    name = "ELIGIBLE_LEADERS_NOT_AVAILABLE"
    retriable = True


class ElectionNotNeeded(KafkaError):
    code = 84
    name = "ELECTION_NOT_NEEDED"
    retriable = True


class NoReassignmentInProgress(KafkaError):
    code = 85
    name = "NO_REASSIGNMENT_IN_PROGRESS"


class GroupSubscribedToTopic(KafkaError):
    code = 86
    name = "GROUP_SUBSCRIBED_TO_TOPIC"


class InvalidRecord(KafkaError):
    code = 87
    name = "INVALID_RECORD"


class UnstableOffsetCommit(KafkaError):
    code = 88
    name = "UNSTABLE_OFFSET_COMMIT"
    retriable = True


class ThrottlingQuotaExceeded(KafkaError):
    code = 89
    name = "THROTTLING_QUOTA_EXCEEDED"
    retriable = True


class ProducerFenced(KafkaError):
    code = 90
    name = "PRODUCER_FENCED"


class ResourceNotFound(KafkaError):
    code = 91
    name = "RESOURCE_NOT_FOUND"


class DuplicateResource(KafkaError):
    code = 92
    name = "DUPLICATE_RESOURCE"


class UnacceptableCredential(KafkaError):
    code = 93
    name = "UNACCEPTABLE_CREDENTIAL"


class InconsistentVoterSet(KafkaError):
    code = 94
    name = "INCONSISTENT_VOTER_SET"


class InvalidUpdateVersion(KafkaError):
    code = 95
    name = "INVALID_UPDATE_VERSION"


class FeatureUpdateFailed(KafkaError):
    code = 96
    name = "FEATURE_UPDATE_FAILED"


class PrincipalDeserializationFailure(KafkaError):
    code = 97
    name = "PRINCIPAL_DESERIALIZATION_FAILURE"


class SnapshotNotFound(KafkaError):
    code = 98
    name = "SNAPSHOT_NOT_FOUND"


class PositionOutOfRange(KafkaError):
    code = 99
    name = "POSITION_OUT_OF_RANGE"


class UnknownTopicId(KafkaError):
    code = 100
    name = "UNKNOWN_TOPIC_ID"
    retriable = True


class DuplicateBrokerRegistration(KafkaError):
    code = 101
    name = "DUPLICATE_BROKER_REGISTRATION"


class BrokerIdNotRegistered(KafkaError):
    code = 102
    name = "BROKER_ID_NOT_REGISTERED"


class InconsistentTopicId(KafkaError):
    code = 103
    name = "INCONSISTENT_TOPIC_ID"
    retriable = True


class InconsistentClusterId(KafkaError):
    code = 104
    name = "INCONSISTENT_CLUSTER_ID"


class TransactionalIdNotFound(KafkaError):
    code = 105
    name = "TRANSACTIONAL_ID_NOT_FOUND"


class FetchSessionTopicIdError(KafkaError):
    code = 106
    name = "FETCH_SESSION_TOPIC_ID_ERROR"
    retriable = True


class IneligibleReplica(KafkaError):
    code = 107
    name = "INELIGIBLE_REPLICA"


class NewLeaderElected(KafkaError):
    code = 108
    name = "NEW_LEADER_ELECTED"


class OffsetMovedToTieredStorage(KafkaError):
    code = 109
    name = "OFFSET_MOVED_TO_TIERED_STORAGE"


class FencedMemberEpoch(KafkaError):
    code = 110
    name = "FENCED_MEMBER_EPOCH"


class UnreleasedInstanceId(KafkaError):
    code = 111
    name = "UNRELEASED_INSTANCE_ID"


class UnsupportedAssignor(KafkaError):
    code = 112
    name = "UNSUPPORTED_ASSIGNOR"


class StaleMemberEpoch(KafkaError):
    code = 113
    name = "STALE_MEMBER_EPOCH"


class MismatchedEndpointType(KafkaError):
    code = 114
    name = "MISMATCHED_ENDPOINT_TYPE"


class UnsupportedEndpointType(KafkaError):
    code = 115
    name = "UNSUPPORTED_ENDPOINT_TYPE"


class UnknownControllerId(KafkaError):
    code = 116
    name = "UNKNOWN_CONTROLLER_ID"


class UnknownSubscriptionId(KafkaError):
    code = 117
    name = "UNKNOWN_SUBSCRIPTION_ID"


class TelemetryTooLarge(KafkaError):
    code = 118
    name = "TELEMETRY_TOO_LARGE"


class InvalidRegistration(KafkaError):
    code = 119
    name = "INVALID_REGISTRATION"


class TransactionAbortable(KafkaError):
    code = 120
    name = "TRANSACTION_ABORTABLE"


class InvalidRecordState(KafkaError):
    code = 121
    name = "INVALID_RECORD_STATE"


class ShareSessionNotFound(KafkaError):
    code = 122
    name = "SHARE_SESSION_NOT_FOUND"
    retriable = True


class InvalidShareSessionEpoch(KafkaError):
    code = 123
    name = "INVALID_SHARE_SESSION_EPOCH"
    retriable = True


class FencedStateEpoch(KafkaError):
    code = 124
    name = "FENCED_STATE_EPOCH"


class InvalidVoterKey(KafkaError):
    code = 125
    name = "INVALID_VOTER_KEY"


class DuplicateVoter(KafkaError):
    code = 126
    name = "DUPLICATE_VOTER"


class VoterNotFound(KafkaError):
    code = 127
    name = "VOTER_NOT_FOUND"


class InvalidRegularExpression(KafkaError):
    code = 128
    name = "INVALID_REGULAR_EXPRESSION"


class RebootstrapRequired(KafkaError):
    code = 129
    name = "REBOOTSTRAP_REQUIRED"


class StreamsInvalidTopology(KafkaError):
    code = 130
    name = "STREAMS_INVALID_TOPOLOGY"


class StreamsInvalidTopologyEpoch(KafkaError):
    code = 131
    name = "STREAMS_INVALID_TOPOLOGY_EPOCH"


class StreamsTopologyFenced(KafkaError):
    code = 132
    name = "STREAMS_TOPOLOGY_FENCED"


class ShareSessionLimitReached(KafkaError):
    code = 133
    name = "SHARE_SESSION_LIMIT_REACHED"
    retriable = True


class GroupDeletionFailed(KafkaError):
    code = 134
    name = "GROUP_DELETION_FAILED"


class StreamsTopologyDescriptionUpdateFailed(KafkaError):
    code = 135
    name = "STREAMS_TOPOLOGY_DESCRIPTION_UPDATE_FAILED"


class ControllerIdNotRegistered(KafkaError):
    code = 136
    name = "CONTROLLER_ID_NOT_REGISTERED"


BY_CODE: dict[int, type[KafkaError]] = {cls.code: cls for cls in KafkaError.__subclasses__()}
"""The error classes by code, without 0 (no error)."""


def error_name(code: int) -> str:
    """Kafka's name of an error code; ``NONE`` for 0, ``ERROR_<code>`` for an unknown one."""
    if code == NONE:
        return "NONE"
    cls = BY_CODE.get(code)
    return cls.name if cls is not None else f"ERROR_{code}"
