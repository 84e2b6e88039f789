"""The plugin of docs/how-to/write-a-storage-plugin.md: it works, and the page shows what it is."""

from __future__ import annotations

import re
import sys
from importlib import util
from pathlib import Path

import pytest

DOCS = Path(__file__).parents[2] / "docs"
EXAMPLE = DOCS / "examples" / "kgw-storage-dict"
PAGE = DOCS / "how-to" / "write-a-storage-plugin.md"

sys.path.insert(0, str(EXAMPLE / "src"))
spec = util.spec_from_file_location("kgw_example_tests", EXAMPLE / "tests" / "test_dict_store.py")
assert spec and spec.loader
example = util.module_from_spec(spec)
spec.loader.exec_module(example)

TestDictStore = example.TestDictStore
"""The example's own tests, run here as they are."""

BLOCK = re.compile(r"^```(python|toml)\n(.*?)^```", re.DOTALL | re.MULTILINE)


def lines(text: str) -> str:
    """``text`` without indentation and empty lines: a method stands at the margin on the page."""
    return "".join(f"{line.strip()}\n" for line in text.splitlines() if line.strip())


@pytest.mark.parametrize("language", ["python", "toml"])
def test_the_code_on_the_page_is_the_example(language: str) -> None:
    """Every block is in the example's files, line for line, unless it says that it is elsewhere."""
    files = [path for path in EXAMPLE.rglob("*") if path.suffix in (".py", ".toml")]
    sources = lines("\n".join(path.read_text() for path in files))
    blocks = [text for kind, text in BLOCK.findall(PAGE.read_text()) if kind == language]
    shown = [text for text in blocks if not text.startswith("# not in the example")]
    assert shown
    for text in shown:
        assert lines(text) in sources, f"the page shows what the example does not have:\n{text}"


def test_the_example_registers_its_store() -> None:
    """The hook returns the class that the entry point's name selects."""
    import kgw_storage_dict

    assert kgw_storage_dict.kgw_register_storage() == [kgw_storage_dict.DictStore]
    assert '"storage.dict" = "kgw_storage_dict"' in (EXAMPLE / "pyproject.toml").read_text()
