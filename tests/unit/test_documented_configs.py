"""Each config file that a page shows is one that a gateway would start with."""

from __future__ import annotations

import re
import textwrap
import tomllib
from pathlib import Path

import msgspec
import pytest

from kgw_core.config import Config, read_file
from kgw_core.config_validation import checked

ROOT = Path(__file__).parents[2]
TABLES = {field.encode_name for field in msgspec.structs.fields(Config)}


def shown() -> list[tuple[str, str]]:
    """Page and text of each block that is a config: in fences that say TOML, or indented."""
    found = []
    for page in [ROOT / "README.md", *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/README.md")]:
        text = page.read_text(encoding="utf-8")
        blocks = re.findall(r"^```toml\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
        blocks += re.findall(r"(?:^    .*\n(?:^\n(?=    ))?)+", text, re.MULTILINE)
        for block in map(textwrap.dedent, blocks):
            try:
                tables = tomllib.loads(block)
            except tomllib.TOMLDecodeError:
                continue
            if tables and tables.keys() <= TABLES and tables.get("storage", {}).get("use") != "dict":
                found.append((page.relative_to(ROOT).as_posix(), block))
    return found


@pytest.mark.parametrize(("page", "text"), shown())
def test_a_config_that_is_shown_is_right(page: str, text: str, tmp_path: Path) -> None:
    path = tmp_path / "kgw.toml"
    path.write_text(text, encoding="utf-8")
    checked(read_file(path, {}))


def test_the_pages_that_show_one_are_found() -> None:
    assert {page for page, _ in shown()} >= {
        "README.md",
        "docs/how-to/run-a-durable-broker.md",
        "docs/reference/configuration.md",
        "plugins/storage_memory/README.md",
        "plugins/storage_sqlite/README.md",
    }
