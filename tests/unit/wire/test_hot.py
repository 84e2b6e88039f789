"""The committed codecs are the emitter's own, and do what the lazily compiled ones do."""

from __future__ import annotations

import importlib
import random
from pathlib import Path

from kgw_core import wire
from kgw_core.wire import MalformedMessage
from kgw_core.wire.emit.compiling import compile_codec
from tools.generate_messages import hot_files

HOT = Path(wire.__file__).parent / "hot"


def test_generating_the_hot_codecs_again_gives_the_same_text():
    for module, text in hot_files().items():
        assert (HOT / f"{module}.py").read_text() == text, f"{module}: run python -m tools.generate_messages"


def test_every_file_of_hot_codecs_is_one_that_is_generated():
    assert {path.stem for path in HOT.glob("*.py")} == {*wire.index.HOT, "__init__"}


def test_the_hot_codecs_are_in_use_and_cover_every_version():
    for module in wire.index.HOT:
        codecs = importlib.import_module(f"kgw_core.wire.hot.{module}").CODECS
        for name, rows in codecs.items():
            cls = wire.message(name)
            versions = [version for low, high, _, _ in rows for version in range(low, high + 1)]
            assert versions == list(range(cls.VERSIONS[0], cls.VERSIONS[1] + 1))
            assert wire.decoder(cls, versions[-1]) is rows[-1][2]
            assert wire.encoder(cls, versions[-1]) is rows[-1][3]


def test_hot_and_compiled_codecs_agree(vectors):
    chance = random.Random(3)
    compiled = {}
    for v in vectors:
        if wire.index.MESSAGES[v.message] not in wire.index.HOT:
            continue
        cls = wire.message(v.message)
        key = cls, v.version
        if key not in compiled:
            compiled[key] = compile_codec(*key, "decode"), compile_codec(*key, "encode")
        decode, encode = compiled[key]
        inputs = [v.data]
        for _ in range(20):
            data = bytearray(v.data)
            if data:
                data[chance.randrange(len(data))] = chance.randrange(256)
            inputs.append(bytes(data[: chance.randrange(len(data) + 1)] if chance.random() < 0.3 else data))
        for data in inputs:
            assert attempt(wire.decoder(*key), data) == attempt(decode, data)
        message, _ = decode(memoryview(v.data), 0)
        hot, cold = [], []
        wire.encoder(*key)(message, hot.append)
        encode(message, cold.append)
        assert hot == cold


def attempt(decode, data):
    """What became of it: the message and where it ends, or the complaint without the version's name."""
    try:
        return decode(memoryview(data), 0)
    except MalformedMessage as error:
        return str(error).partition(": ")[2]
