"""What is wrong with settings, gathered until it is told all at once."""

from __future__ import annotations

import os
from collections.abc import Iterable
from typing import NamedTuple

from kgw_core.spi.settings._types import Given
from kgw_core.spi.settings._words import shown, source_of


class Place(NamedTuple):
    """Where a value stands: the table as messages show it, the key in it, the name of an array's entry."""

    table: str
    key: str = ""
    name: str = ""

    def __str__(self) -> str:
        return " ".join(filter(None, (self.table, self.name, self.key)))


class Report:
    """Collects ``problems``, a line each: ``<file>: [table] key: what is wrong``.

    ``where`` is the file as the user wrote it. The line of a value that does not stand there begins with what
    it is from instead: ``environment: KGW_NODE_ID: …``.
    """

    def __init__(self, where: str | os.PathLike[str]) -> None:
        self.where = os.fspath(where)
        self.problems: list[str] = []
        self._wrong: set[tuple[str, str]] = set()
        self._sources: dict[tuple[str, str], str] = {}

    def is_from(self, place: Place, given: object) -> None:
        """Remember where the value at a place is from, for problems that are found later."""
        if isinstance(given, Given):
            self._sources[place[:2]] = given.source

    def is_wrong(self, place: Place) -> bool:
        """Whether a problem with the value at a place has been added."""
        return place[:2] in self._wrong

    def add(self, place: Place, message: str, given: object = None, *, beside: Iterable[Place] = ()) -> None:
        """Add a problem with the value at ``place``, or with how it goes with those ``beside``.

        A value that is known to be wrong is not told of again.
        """
        places = [one[:2] for one in (place, *beside)]
        if not self._wrong.isdisjoint(places):
            return
        if place.key:  # of a table as a whole there may be more to say
            self._wrong.add(places[0])
        source = source_of(given) or next(filter(None, map(self._sources.get, places)), None)
        line = (source, message) if source else (self.where, str(place), message)
        self.problems.append(": ".join(filter(None, line)))


def entry(table: str, number: int, name: object = None, key: str = "") -> Place:
    """Of an entry of an array of tables, counted from 1: ``[[listeners]] #2 "INSIDE" port``."""
    return Place(f"{table} #{number}", key, shown(name) if isinstance(name, str) and name else "")
