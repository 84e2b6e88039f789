"""``python -m tests.corrupt HOST:PORT`` prints a broker's answer to every kind, as lines of a table."""

from __future__ import annotations

import sys

from tests.corrupt.asking import ask_all
from tests.corrupt.kinds import KINDS


def main() -> int:
    host, _, port = sys.argv[1].rpartition(":")
    for key, answer in ask_all((host, int(port)), KINDS).items():
        print(f"{key}\t{answer}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
