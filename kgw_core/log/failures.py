"""The errors for clients after a store failed."""

from __future__ import annotations

import logging

from kgw_core.errors import KafkaError, KafkaStorageError, NotLeaderOrFollower
from kgw_core.spi.ledger import NotLeader
from kgw_core.spi.storage import Fenced, OffsetConflict, TopicPartition

logger = logging.getLogger(__name__)


def explained(error: Exception, tp: TopicPartition) -> KafkaError:
    """The error for clients. An unexpected error is logged."""
    if isinstance(error, KafkaError):
        return error
    if isinstance(error, OffsetConflict | Fenced | NotLeader):
        logger.warning("%s: %s; somebody else leads it", tp, error)
        return NotLeaderOrFollower(f"{tp}: {error}")
    logger.error("storage failed on %s: %r", tp, error, exc_info=error)
    return KafkaStorageError(f"storage failed on {tp}: {error}")


def retriable(failure: KafkaError, tp: TopicPartition) -> KafkaError:
    """The error of batches that are refused only because another batch failed."""
    if failure.retriable:
        return failure
    return KafkaStorageError(f"{tp}: another append failed: {failure}")


def is_certain(error: Exception) -> bool:
    """Whether ``error`` means that nothing was written (rule 12 of the store's contract)."""
    return isinstance(error, KafkaError | OffsetConflict | Fenced)
