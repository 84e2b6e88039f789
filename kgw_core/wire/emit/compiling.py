"""Compiles a codec at its first use."""

from __future__ import annotations
import __future__

import linecache
import struct
import sys
from typing import Any

from kgw_core.wire import base, failures, primitives
from kgw_core.wire.base import Message
from kgw_core.wire.emit.decoding import decoder_source
from kgw_core.wire.emit.encoding import encoder_source
from kgw_core.wire.emit.text import Text, struct_definition
from kgw_core.wire.explain import unencodable
from kgw_core.wire.plan import plan_message

_HELPERS: dict[str, Any] = {
    **vars(base),
    **vars(failures),
    **vars(primitives),
    "unencodable": unencodable,
    "Struct": struct.Struct,
    "pack": struct.pack,
    "unpack_from": struct.unpack_from,
    "new": object.__new__,
}


def codec_source(cls: type[Message], version: int, direction: str) -> Text:
    """The source of one codec. `direction` is "decode", "step" (decode in steps, with a limit) or "encode".

    :raises ValueError: there is no such version of the message.
    """
    plan = plan_message(cls, version)
    what = f"{cls.NAME} v{version}"
    if direction in ("decode", "step"):
        return decoder_source(f"{direction}_{cls.NAME}_v{version}", what, plan, in_steps=direction == "step")
    if direction == "encode":
        return encoder_source(f"encode_{cls.NAME}_v{version}", what, version, plan)
    raise ValueError(f'direction is "decode", "step" or "encode", not {direction!r}')


def compile_codec(cls: type[Message], version: int, direction: str) -> Any:
    """The function of one codec. Tracebacks and :mod:`inspect` find its source."""
    text = codec_source(cls, version, direction)
    source = "\n".join(text.lines) + "\n"
    filename = f"<kgw {direction} {cls.NAME} v{version}>"
    linecache.cache[filename] = (len(source), None, source.splitlines(keepends=True), filename)
    module = vars(sys.modules[cls.__module__])
    namespace: dict[str, Any] = {}
    for name in text.uses:
        if name.startswith(("pack_", "unpack_")) and name not in _HELPERS:
            namespace[name] = eval(struct_definition(name), {"Struct": struct.Struct})
        elif name in module:
            namespace[name] = module[name]
        elif name not in ("Write", "Iterator"):
            namespace[name] = _HELPERS[name]
    code = compile(source, filename, "exec", __future__.annotations.compiler_flag, dont_inherit=True)
    exec(code, namespace)
    return namespace[f"{direction}_{cls.NAME}_v{version}"]
