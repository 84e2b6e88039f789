"""What the two emitters share: indented lines, runs of fixed fields, and a note of the names they use."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from kgw_core.wire.emit.plan import SIZES

if TYPE_CHECKING:
    from collections.abc import Iterator

_LETTERS = {"?": "t", "16s": "U"}
_FORMATS = {letter: format_ for format_, letter in _LETTERS.items()}


def struct_name(direction: str, formats: list[str]) -> str:
    """The name of the bound method of a ``struct.Struct``: "unpack_ihB" is ``Struct(">ihB").unpack_from``."""
    return f"{direction}_" + "".join(_LETTERS.get(f, f) for f in formats)


def struct_definition(name: str) -> str:
    """The source of the value of such a name."""
    direction, _, letters = name.partition("_")
    method = "unpack_from" if direction == "unpack" else "pack"
    return f'Struct(">{"".join(_FORMATS.get(c, c) for c in letters)}").{method}'


def size_of(formats: list[str]) -> int:
    """How many bytes a run takes."""
    return sum(SIZES[f] for f in formats)


class Text:
    """Lines of source in the making."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.uses: set[str] = set()
        """Names that the source takes from outside: structs' methods, helpers, message classes."""
        self.run: list[tuple[str, str]] = []
        """Fixed fields not written yet: (what, format)."""
        self._depth = 1
        self._counter = 0

    def add(self, line: str) -> None:
        self.lines.append("    " * self._depth + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """A line ending in a colon, and what is indented below it."""
        self.add(head)
        self._depth += 1
        before = len(self.lines)
        yield
        if len(self.lines) == before:
            self.add("pass")
        self._depth -= 1

    def fresh(self, stem: str) -> str:
        """A name not used before in this function."""
        self._counter += 1
        return f"{stem}{self._counter}"

    def use(self, name: str) -> str:
        self.uses.add(name)
        return name
