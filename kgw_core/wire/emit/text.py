"""The base of both emitters: indented lines, runs of fixed fields, and the names that the source uses."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from kgw_core.wire.plan import SIZES

if TYPE_CHECKING:
    from collections.abc import Iterator

_LETTERS = {"?": "t", "16s": "U"}
_FORMATS = {letter: format_ for format_, letter in _LETTERS.items()}


def struct_name(direction: str, formats: list[str]) -> str:
    """The name of a ``struct.Struct``'s bound method: "unpack_ihB" is ``Struct(">ihB").unpack_from``."""
    return f"{direction}_" + "".join(_LETTERS.get(f, f) for f in formats)


def struct_definition(name: str) -> str:
    """The source that defines a name of :func:`struct_name`."""
    direction, _, letters = name.partition("_")
    method = "unpack_from" if direction == "unpack" else "pack"
    return f'Struct(">{"".join(_FORMATS.get(c, c) for c in letters)}").{method}'


def size_of(formats: list[str]) -> int:
    """The size of a run in bytes."""
    return sum(SIZES[f] for f in formats)


class Text:
    """Lines of source, and the fixed fields that are not written yet."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.uses: set[str] = set()
        """Names that the source needs: structs' methods, helpers, message classes."""
        self.run: list[tuple[str, str]] = []
        """Fixed fields that are not written yet: (value, format)."""
        self._depth = 1
        self._counter = 0

    def add(self, line: str) -> None:
        self.lines.append("    " * self._depth + line)

    @contextmanager
    def block(self, head: str) -> Iterator[None]:
        """A line that ends in a colon, and the lines indented below it."""
        self.add(head)
        self._depth += 1
        before = len(self.lines)
        yield
        if len(self.lines) == before:
            self.add("pass")
        self._depth -= 1

    def fresh(self, stem: str) -> str:
        """A name that is new in this function."""
        self._counter += 1
        return f"{stem}{self._counter}"

    def use(self, name: str) -> str:
        self.uses.add(name)
        return name
