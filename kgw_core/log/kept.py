"""Values of logs in the state, such as snapshots. The values of deleted logs are removed."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeAlias

from kgw_core.background import Background
from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import TopicPartition

if TYPE_CHECKING:
    from kgw_core.log.partition import PartitionLog

Key: TypeAlias = Callable[[TopicPartition], bytes]
"""The key of a log's value of one kind."""

NO_VERSIONS: Final[Mapping[PartitionLog, int]] = {}

AT_ONCE: Final = 500
"""How many deleted logs one commit removes."""


class Kept:
    """Values in ``state`` under the ``keys`` of logs. Those of deleted logs are removed in the background."""

    def __init__(self, state: StateStore, keys: Sequence[Key], background: Background) -> None:
        self.state = state
        self._keys = keys
        self._gone: dict[TopicPartition, None] = {}
        self._forgetting = background.chore("forgetting deleted partitions", self._forget)

    async def put(
        self,
        key: Key,
        values: Mapping[PartitionLog, bytes],
        versions: Mapping[PartitionLog, int] = NO_VERSIONS,
    ) -> int:
        """Store the value of each log under its ``key``, except of logs that are deleted meanwhile. Return
        the version of the commit, or 0. ``versions`` are those that the keys are expected to have.

        :raises VersionConflict: one has another version.
        :raises Exception: from ``state.commit``.
        """
        logs = [log for log in values if not log.topic.deleted]
        if not logs:
            return 0
        expected = {key(log.tp): versions[log] for log in logs if log in versions}
        try:
            return await self.state.commit({key(log.tp): values[log] for log in logs}, if_versions=expected)
        finally:
            for log in logs:
                if log.topic.deleted:  # its values may have been removed before this commit
                    self.forget(log.tp)

    def forget(self, tp: TopicPartition) -> None:
        """The log was deleted: remove its values soon."""
        self._gone[tp] = None
        self._forgetting.due()

    async def _forget(self) -> None:
        while self._gone:
            tps = list(islice(self._gone, AT_ONCE))
            for tp in tps:
                del self._gone[tp]
            try:
                await self.state.commit({key(tp): None for tp in tps for key in self._keys})
            except BaseException:
                self._gone.update(dict.fromkeys(tps))
                raise

    async def finish(self) -> None:
        """The gateway stops: make one more attempt to remove values."""
        await self._forgetting.finish()
