"""``python -m kgw_core`` is ``kgw``."""

from __future__ import annotations

import signal


def main() -> None:
    """Run the command. Ctrl-C during the imports ends it silently, as it ends other programs."""
    handled = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # false after nohup
    if handled:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from kgw_core.cli import main as cli

    if handled:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    cli(prog_name="kgw")


if __name__ == "__main__":
    main()
