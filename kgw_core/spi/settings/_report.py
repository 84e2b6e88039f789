"""Collects the problems of settings, to report all of them at once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from kgw_core.spi.settings._types import Given
from kgw_core.spi.settings._words import joined, shown, source_of


class Place(NamedTuple):
    """The place of a value: the table as messages show it, its key, and the name of an array's entry."""

    table: str
    key: str = ""
    name: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.table, self.name, self.key)))


class Report:
    """Collects ``problems``, one line each: ``<file>: [table] key: what is wrong``.

    ``where`` is the file as the user wrote it. The line of a value from elsewhere begins with its source
    instead: ``environment: KGW_NODE_ID: …``.
    """

    def __init__(self, where: str | os.PathLike[str]) -> None:
        self.where = os.fspath(where)
        self.problems: list[str] = []
        self._wrong: set[tuple[str, str]] = set()
        self._sources: dict[tuple[str, str], str] = {}

    def is_from(self, place: Place, given: object) -> None:
        """Remember the source of the value at a place, for problems that are found later."""
        if isinstance(given, Given):
            self._sources[place[:2]] = given.source

    def is_wrong(self, place: Place) -> bool:
        """Whether the value at a place has a problem."""
        return place[:2] in self._wrong

    def add(self, place: Place, message: str, given: object = None, *, beside: Iterable[Place] = ()) -> None:
        """Add a problem of the value at ``place``, or of its combination with the values ``beside``.

        A value that has a problem gets no second one.
        """
        places = [one[:2] for one in (place, *beside)]
        if not self._wrong.isdisjoint(places):
            return
        if place.key:  # a table may have several problems
            self._wrong.add(places[0])
        self.problems.append(f"{self.origin(place, given, beside=beside)}: {message}")

    def origin(self, place: Place, given: object = None, *, beside: Iterable[Place] = ()) -> str:
        """The start of a message about ``place``: the sources of its value and of those ``beside``, such as
        ``environment: KGW_NODE_ID``. If all are from the file, the file and the place."""
        found = [source_of(given), *(self._sources.get(one[:2]) for one in (place, *beside))]
        sources = list(dict.fromkeys(filter(None, found)))
        return joined(sources) if sources else ": ".join(filter(None, (self.where, str(place))))


def entry(table: str, number: int, name: object = None, key: str = "") -> Place:
    """The place of an entry of an array of tables, counted from 1: ``[[listeners]] #2 "INSIDE" port``."""
    return Place(f"{table} #{number}", key, shown(name) if isinstance(name, str) and name else "")
