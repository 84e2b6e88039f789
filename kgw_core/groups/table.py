"""The groups of a gateway by id, and whether the coordinator serves them now."""

from __future__ import annotations

from collections.abc import Callable

from kgw_core.errors import (
    CoordinatorLoadInProgress,
    CoordinatorNotAvailable,
    InvalidGroupId,
    NotCoordinator,
)
from kgw_core.groups.group import Group
from kgw_core.groups.sizes import MOST_GROUP_ID


class GroupTable(dict[str, Group]):
    """All groups by id.

    ``loading`` is true until all stored groups have been read, ``stopped`` once the gateway stops,
    ``elsewhere`` while another gateway coordinates groups. ``lapsed()`` tells whether the session of this
    broker is over, so that another one may coordinate by now. The timer that says so may be late, as in a
    process that was stopped for a while.
    """

    __slots__ = ("elsewhere", "lapsed", "loading", "stopped")

    def __init__(self) -> None:
        super().__init__()
        self.loading = True
        self.stopped = False
        self.elsewhere = False
        self.lapsed: Callable[[], bool] | None = None

    def is_elsewhere(self) -> bool:
        """Whether another gateway coordinates groups, or may do so by now."""
        return self.elsewhere or (self.lapsed is not None and self.lapsed())

    def check(self, group_id: str, *, may_be_empty: bool = False) -> None:
        """Return if requests for this group can be served.

        :raises InvalidGroupId: the id is empty or too long.
        :raises CoordinatorNotAvailable: the gateway stops.
        :raises NotCoordinator: another gateway coordinates groups, or may do so by now.
        :raises CoordinatorLoadInProgress: the groups are still being read.
        """
        if not group_id and not may_be_empty:
            raise InvalidGroupId("the group id is empty")
        if len(group_id) * 4 > MOST_GROUP_ID and len(group_id.encode()) > MOST_GROUP_ID:
            raise InvalidGroupId(f"the group id is longer than {MOST_GROUP_ID} bytes")
        if self.stopped:
            raise CoordinatorNotAvailable("the gateway stops")
        if self.is_elsewhere():
            raise NotCoordinator("another broker coordinates groups")
        if self.loading:
            raise CoordinatorLoadInProgress("groups are being loaded")

    def get_or_create(self, group_id: str) -> Group:
        """The group; an empty one is added if there is none."""
        group = self.get(group_id)
        if group is None:
            group = self[group_id] = Group(group_id)
        return group
