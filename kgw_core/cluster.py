"""The cluster's id, which is made once and stored with the data."""

from __future__ import annotations

import base64
import uuid

from kgw_core.spi.state import StateStore, compare_and_set

KEY = b"cluster/id"


async def cluster_id(state: StateStore, configured: str | None) -> str:
    """The configured id, else the one in ``state``, else a new one, which is stored there.

    If several gateways start together, only one makes the id.

    :raises Exception: from the store. Without an id the gateway does not start.
    """
    if configured is not None:
        return configured
    made = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=")
    return (await compare_and_set(state, KEY, lambda stored: stored or made)).decode()
