"""The id of the cluster: made once, and kept with the data."""

from __future__ import annotations

import base64
import uuid

from kgw_core.spi.state import StateStore, compare_and_set

KEY = b"cluster/id"


async def cluster_id(state: StateStore, configured: str | None) -> str:
    """The configured id, else the one in ``state``, else a new one, which is put there.

    Of gateways that start together one makes it.

    :raises Exception: whatever the store raises; without an id no gateway starts.
    """
    if configured is not None:
        return configured
    made = base64.urlsafe_b64encode(uuid.uuid4().bytes).rstrip(b"=")
    return (await compare_and_set(state, KEY, lambda kept: kept or made)).decode()
