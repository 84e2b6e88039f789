"""The README shows every setting."""

from __future__ import annotations

import ast
import inspect
from pathlib import Path

from kgw_storage_sqlite.config import Config

README = Path(__file__).parents[1] / "README.md"


def test_the_readme_shows_every_setting_and_nothing_else() -> None:
    [body] = ast.parse(inspect.getsource(Config)).body
    assert isinstance(body, ast.ClassDef)
    meanings = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name) and isinstance(text.value, ast.Constant)
            meanings[field.target.id] = " ".join(str(text.value.value).split())
    assert set(meanings) == set(Config.__struct_fields__)
    rows = [line for line in README.read_text(encoding="utf-8").splitlines() if line.startswith("| `")]
    told = {row.split("|")[1].strip(" `"): row.split("|")[5].strip() for row in rows}
    assert told == meanings
