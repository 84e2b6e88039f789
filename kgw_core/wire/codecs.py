"""The codecs of all messages and versions. A codec is compiled at its first use and kept."""

from __future__ import annotations

from collections.abc import Callable, Generator
from typing import Any, Literal, TypeAlias, TypeVar

from kgw_core.wire.base import Buffer, Message

M = TypeVar("M", bound=Message)

Write: TypeAlias = Callable[[Buffer], object]
Decoder: TypeAlias = Callable[[memoryview, int], tuple[M, int]]
Steps: TypeAlias = Generator[None, None, tuple[M, int, int]]
StepwiseDecoder: TypeAlias = Callable[[memoryview, int, int], Steps[M]]
Encoder: TypeAlias = Callable[[M, Write], None]

_decoders: dict[tuple[type[Message], int], Callable[..., Any]] = {}
_stepwise: dict[tuple[type[Message], int], Callable[..., Any]] = {}
_encoders: dict[tuple[type[Message], int], Callable[..., Any]] = {}


def decoder(message_class: type[M], version: int) -> Decoder[M]:
    """The function ``(buf: memoryview, pos: int) -> (message, pos)``; `buf` ends where the frame ends.

    Bytes may follow the message; the caller checks for them.

    :raises ValueError: there is no such version of the message.
    """
    found = _decoders.get((message_class, version))
    if found is None:
        found = _decoders[message_class, version] = _compiled(message_class, version, "decode")
    return found


def stepwise_decoder(message_class: type[M], version: int) -> StepwiseDecoder[M]:
    """The same for large messages: a generator ``(buf, pos, left)`` that yields after every few hundred
    entries and returns ``(message, pos, left)``. `left` is how many entries all arrays may have together.

    :raises ValueError: there is no such version of the message.
    """
    found = _stepwise.get((message_class, version))
    if found is None:
        found = _stepwise[message_class, version] = _compiled(message_class, version, "step")
    return found


def encoder(message_class: type[M], version: int) -> Encoder[M]:
    """The function ``(message, write)``. It passes the message's bytes to `write`, buffer by buffer.

    `bytes` and `records` values are passed without a copy.

    :raises ValueError: there is no such version of the message.
    """
    found = _encoders.get((message_class, version))
    if found is None:
        found = _encoders[message_class, version] = _compiled(message_class, version, "encode")
    return found


def source(message_class: type[Message], version: int, direction: Literal["decode", "encode"]) -> str:
    """The Python source of one codec, for people to read.

    :raises ValueError: there is no such version of the message.
    """
    from kgw_core.wire.emit.compiling import codec_source

    return "\n".join(codec_source(message_class, version, direction).lines) + "\n"


def _compiled(cls: type[Message], version: int, direction: Literal["decode", "step", "encode"]) -> Any:
    from kgw_core.wire.emit.compiling import compile_codec

    return compile_codec(cls, version, direction)
