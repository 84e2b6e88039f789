"""Write a committed module of codecs: the emitter's output for the messages of one module."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Sequence
from importlib import import_module
from types import ModuleType

from kgw_core.wire import base, codecs, failures, primitives
from kgw_core.wire.base import Message
from kgw_core.wire.emit.decoding import decoder_source
from kgw_core.wire.emit.encoding import encoder_source
from kgw_core.wire.emit.plan import StructPlan, plan_message
from kgw_core.wire.emit.text import struct_definition
from tools.names import snake
from tools.write_messages import HEADER

HOT = (
    "api_versions",
    "fetch",
    "find_coordinator",
    "heartbeat",
    "list_offsets",
    "metadata",
    "offset_commit",
    "offset_fetch",
    "produce",
    "request_header",
    "response_header",
)


def write_hot(module: str, classes: Sequence[type[Message]]) -> str:
    """The codecs of `classes`, which live in the message module `module`. Equal versions share a function."""
    functions: list[str] = []
    table: list[str] = []
    uses: set[str] = set()
    for cls in classes:
        rows = []
        for low, high, plan in layouts(cls):
            suffix = f"{snake(cls.NAME)}_v{low}"
            what = f"{cls.NAME} v{low}" + (f"-{high}" if high > low else "")
            for text in (
                decoder_source(f"decode_{suffix}", what, plan),
                encoder_source(f"encode_{suffix}", what, low, plan),
            ):
                functions += ["", "", *text.lines]
                uses |= text.uses
            rows.append(f"        ({low}, {high}, decode_{suffix}, encode_{suffix}),")
        table += [f'    "{cls.NAME}": (', *rows, "    ),"]
    structs = sorted(name for name in uses if name.startswith(("pack_", "unpack_")) and name != "unpack_from")
    lines = [HEADER, f'"""Codecs of the messages in :mod:`kgw_core.wire.messages.{module}`."""', ""]
    lines += ["from __future__ import annotations", ""]
    plain = [name for name in ("pack", "unpack_from") if name in uses]
    lines += _import("struct", [*(["Struct"] if structs else []), *plain])
    lines += ["from typing import Final", ""]
    home = import_module(f"kgw_core.wire.messages.{module}")
    for source in (base, codecs, failures, home, primitives):
        extra = {"Codecs"} if source is codecs else set()
        lines += _import(source.__name__, sorted((uses & _own(source)) | extra))
    lines.append("")
    if "new" in uses:
        lines.append("new: Final = object.__new__")
    lines += [f"{name}: Final = {struct_definition(name)}" for name in structs]
    return "\n".join([*lines, *functions, "", "", "CODECS: Final[Codecs] = {", *table, "}"]) + "\n"


def layouts(cls: type[Message]) -> list[tuple[int, int, StructPlan]]:
    """(first version, last version, plan) of each run of versions that look the same."""
    found: list[tuple[int, int, StructPlan]] = []
    for version in range(cls.VERSIONS[0], cls.VERSIONS[1] + 1):
        plan = plan_message(cls, version)
        if found and found[-1][2] == plan:
            found[-1] = (found[-1][0], version, plan)
        else:
            found.append((version, version, plan))
    return found


def _own(module: ModuleType) -> set[str]:
    """The public names that a module defines, without those that it imports."""
    tree = ast.parse(inspect.getsource(module))
    names: set[str] = set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign):
            names.update(target.id for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            names.add(node.target.id)
    return names


def _import(module: str, names: list[str]) -> list[str]:
    """An import statement, as ruff would lay it out."""
    if not names:
        return []
    return [f"from {module} import (", *(f"    {name}," for name in sorted(names)), ")"]
