"""``python -m kgw_core`` is ``kgw``."""

from kgw_core.cli import main

if __name__ == "__main__":
    main(prog_name="kgw")
