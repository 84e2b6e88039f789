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
    parser.add_argument("--quiet", action="store_true")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="kgw-crash-") as name:
        storage = f'use = "sqlite"\npath = "{name}/kgw.db"\nsynchronous = "{options.synchronous}"'
        say = (lambda line: None) if options.quiet else print
        print(f"seed {options.seed}")
        print(run(Path(name), storage, options.rounds, options.seed, say))


if __name__ == "__main__":
    main()
