"""``python -m kgw_core`` is ``kgw``."""

from __future__ import annotations

import signal


def main() -> None:
    """The command. Ctrl-C while it is still being imported ends it as it ends other programs: silently."""
    heeded = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # not so after nohup
    if heeded:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from kgw_core.cli import main as cli

    if heeded:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli(prog_name="kgw")


if __name__ == "__main__":
    main()
