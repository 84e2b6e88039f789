"""Error codes of group APIs. Those of every normal rebalance are not logged."""

from __future__ import annotations

from kgw_core.broker import RequestContext
from kgw_core.errors import (
    KafkaError,
    MemberIdRequired,
    RebalanceInProgress,
    UnknownServerError,
    forget_frames,
)

ROUTINE = (RebalanceInProgress, MemberIdRequired)


def code_of(error: Exception | None, context: RequestContext, where: str) -> int:
    """The code of ``error``, or 0 for None. The error is reported unless it is routine."""
    if error is None:
        return 0
    if isinstance(error, ROUTINE):
        forget_frames(error)
        return error.code
    if not isinstance(error, KafkaError):
        context.client.crashed(context.api, error)
        error = UnknownServerError(f"the gateway failed: {error!r}")
    return context.failed(error, where)
