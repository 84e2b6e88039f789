"""Find the codec of a message and version: it is compiled when it is first asked for, and kept."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal, TypeAlias, TypeVar

from kgw_core.wire.base import Buffer, Message

M = TypeVar("M", bound=Message)

Write: TypeAlias = Callable[[Buffer], object]
Decoder: TypeAlias = Callable[[memoryview, int], tuple[M, int]]
CountedDecoder: TypeAlias = Callable[[memoryview, int, int], tuple[M, int, int]]
Encoder: TypeAlias = Callable[[M, Write], None]

_decoders: dict[tuple[type[Message], int], Callable[..., Any]] = {}
_counted: dict[tuple[type[Message], int], Callable[..., Any]] = {}
_encoders: dict[tuple[type[Message], int], Callable[..., Any]] = {}


def decoder(message_class: type[M], version: int) -> Decoder[M]:
    """The function ``(buf: memoryview, pos: int) -> (message, pos)``; `buf` ends where the frame ends.

    It does not mind what follows the message: that is for the caller to check.

    :raises ValueError: there is no such version of the message.
    """
    found = _decoders.get((message_class, version))
    if found is None:
        found = _decoders[message_class, version] = _compiled(message_class, version, "decode")
    return found


def counted_decoder(message_class: type[M], version: int) -> CountedDecoder[M]:
    """The same with a limit: ``(buf, pos, left) -> (message, pos, left)``, where `left` is how many entries
    all arrays may have together. Compiled on first use.

    :raises ValueError: there is no such version of the message.
    """
    found = _counted.get((message_class, version))
    if found is None:
        found = _counted[message_class, version] = _compiled(message_class, version, "count")
    return found


def encoder(message_class: type[M], version: int) -> Encoder[M]:
    """The function ``(message, write)``, which hands the message's bytes to `write`, buffer by buffer.

    `bytes` and `records` values are handed over as they are, without a copy.

    :raises ValueError: there is no such version of the message.
    """
    found = _encoders.get((message_class, version))
    if found is None:
        found = _encoders[message_class, version] = _compiled(message_class, version, "encode")
    return found


def source(message_class: type[Message], version: int, direction: Literal["decode", "encode"]) -> str:
    """The Python source of one codec, for people.

    :raises ValueError: there is no such version of the message.
    """
    from kgw_core.wire.emit.compiling import codec_source

    return "\n".join(codec_source(message_class, version, direction).lines) + "\n"


def _compiled(cls: type[Message], version: int, direction: Literal["decode", "count", "encode"]) -> Any:
    from kgw_core.wire.emit.compiling import compile_codec

    return compile_codec(cls, version, direction)
