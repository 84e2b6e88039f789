"""``python -m tests.fuzz.guided --seconds N --seed S``: codecs and records by coverage, with atheris.

The first byte of an input says what it is tried on; for messages the next two say which. Runs in a process of
its own, as libFuzzer ends the one that it runs in. An input that fails is left in build/fuzz.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import atheris  # optional: pip install atheris

with atheris.instrument_imports(include=["kgw_core.wire", "kgw_core.records"]):
    from kgw_core.records import Codec
    from tests.fuzz import in_process, seeds
    from tests.fuzz.batches import batch
    from tests.fuzz.message_sets import message_set

FOUND = Path(__file__).parents[2] / "build" / "fuzz"


def one(data: bytes) -> None:
    """Try one input; what is not meant goes through."""
    if len(data) < 4:
        return
    kind, rest = data[0] % 4, data[3:]
    if kind == 0:
        names = messages()
        name, version = names[int.from_bytes(data[1:3], "big") % len(names)]
        in_process.decode_message(rest, name, version)
    elif kind == 1:
        in_process.read_batch(rest)
    elif kind == 2:
        in_process.read_message_set(rest)
    else:
        in_process.inflate(rest, 1 + data[1] % 4)


def messages() -> list[tuple[str, int]]:
    """Every message and version that there are vectors of."""
    return sorted(seeds.vectors())


def write_corpus(directory: Path, rng: random.Random) -> None:
    """Valid inputs to begin with."""
    for at, key in enumerate(messages()):
        if at % 3 == 0:
            head = bytes((0, *at.to_bytes(2, "big")))
            (directory / f"message-{at}").write_bytes(head + seeds.vectors()[key][0])
    for at in range(40):
        codec = at % 5
        (directory / f"batch-{at}").write_bytes(b"\1\0\0" + bytes(batch(rng, Codec(codec))))
        (directory / f"set-{at}").write_bytes(b"\2\0\0" + message_set(rng, codec=Codec(codec % 4)))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.guided", description=__doc__)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    FOUND.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory() as directory:
        write_corpus(Path(directory), random.Random(options.seed))
        arguments = [
            f"-max_total_time={options.seconds}", f"-seed={options.seed or 1}", "-rss_limit_mb=2048",
            "-timeout=10", "-max_len=4096", "-print_final_stats=1", f"-artifact_prefix={FOUND}/guided-",
            directory,
        ]  # fmt: skip
        atheris.Setup([sys.argv[0], *arguments], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
