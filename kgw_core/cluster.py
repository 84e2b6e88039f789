"""The id of the cluster: made once, and kept with the data."""

from __future__ import annotations

import base64
import uuid

from kgw_core.spi.state import ABSENT, StateStore

KEY = b"cluster/id"


async def cluster_id(state: StateStore, configured: str | None) -> str:
    """The configured id, else the one in ``state``, else a new one, which is put there.

    :raises Exception: whatever the store raises; without an id no gateway starts.
    """
    if configured is not None:
        return configured
    entry = await state.get(KEY)
    if entry is not None:
        return entry.value.decode()
    made = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
    await state.commit({KEY: made.encode()}, {KEY: ABSENT})
    return made
