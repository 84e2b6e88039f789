"""What a plugin is given when it is opened, and how it speaks to the core from then on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from kgw_core.background import Background
from kgw_core.clock import Clock, SystemClock
from kgw_core.spi.topics import TopicPartition


class StoreEvents:
    """What a store tells the core by itself. Every call returns at once; all run on the event loop."""

    def grown(self, tp: TopicPartition, end: int) -> None:
        """Others have appended: the log ends at ``end`` now."""

    def lost(self, tp: TopicPartition, epoch: int) -> None:
        """This gateway no longer leads the log; the new leader's epoch is ``epoch`` (-1: not known)."""

    def topics_changed(self) -> None:
        """Others have made, changed or deleted topics."""


def _background() -> Background:
    return Background(SystemClock())


@dataclass(frozen=True, slots=True)
class PluginContext:
    """What every plugin gets. ``node_id``: the gateway's broker id. ``clock``: everything goes by its time.


    ``background`` runs a plugin's tasks beside its calls: a task that fails is logged once for each cause,
    tried again, and shows in the gateway's health. ``codec`` decodes records by their schemas; None if no
    schema plugin is selected.
    """

    node_id: int = 1
    background: Background = field(default_factory=_background)
    codec: Any = None

    @property
    def clock(self) -> Clock:
        return self.background.clock


@dataclass(frozen=True, slots=True)
class StoreContext(PluginContext):
    """What a :class:`~kgw_core.spi.storage.LogStore` gets."""

    events: StoreEvents = field(default_factory=StoreEvents)
