"""Error codes of group APIs: those that belong to every rebalance are not worth a line in the log."""

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
    """The code of ``error``, reported unless it is routine; 0 for none."""
    if error is None:
        return 0
    if isinstance(error, ROUTINE):
        forget_frames(error)
        return error.code
    if not isinstance(error, KafkaError):
        context.client.crashed(context.api, error)
        error = UnknownServerError(f"the gateway failed: {error!r}")
    return context.failed(error, where)
