"""``python -m tests.crash``: the crash test at length."""

from __future__ import annotations

import argparse
import tempfile
import time
from pathlib import Path

from tests.crash.run import run


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.crash", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--synchronous", choices=("full", "normal"), default="full")
    parser.add_argument("--faults", type=float, default=0.02, help="how many calls of the storage fail")
    parser.add_argument("--directory", type=Path, help="leave database and log there")
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kgw-crash-") as name:
        directory = (options.directory or Path(name)).absolute()
        say = (lambda line: None) if options.quiet else print
        print(f"seed {options.seed}")
        storage = storage_of(directory, options.synchronous, options.faults)
        print(run(directory, storage, options.rounds, options.seed, say, faults=options.faults > 0))


def storage_of(directory: Path, synchronous: str, faults: float) -> str:
    """Lines of the ``[storage]`` table; ``faults``: how many calls fail, 0: SQLite as it is."""
    lines = [f'path = "{directory}/kgw.db"', f'synchronous = "{synchronous}"']
    if faults:
        return "\n".join(['use = "erratic"', f"faults = {faults}", *lines])
    return "\n".join(['use = "sqlite"', *lines])


if __name__ == "__main__":
    main()
