"""Generate ``kgw_core/wire/messages``, ``index.py`` and the list of disagreements.

    python -m tools.generate_messages [--newer JAR] [--older JAR]

Without paths, Maven fetches the two jars into a temporary folder. The output depends on nothing but the jars.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from tools.kafka_schema import MessageDef, fetch_jar, load_jar
from tools.merge_schema import Union
from tools.names import module_name
from tools.write_messages import HEADER, write_index, write_module

NEWER = "4.4.0"
OLDER = "3.9.1"
ROOT = Path(__file__).resolve().parent.parent
WIRE = ROOT / "kgw_core" / "wire"
REPORT = ROOT / "docs" / "reference" / "wire-disagreements.txt"


def by_module(messages: dict[str, MessageDef]) -> dict[str, list[MessageDef]]:
    """The messages of each module, the request before the response."""
    modules: dict[str, list[MessageDef]] = {}
    for _, message in sorted(messages.items()):
        modules.setdefault(module_name(message), []).append(message)
    return modules


def generate(newer: Path, older: Path) -> None:
    """Write everything that is generated, and take away message modules that no longer are."""
    union = Union(load_jar(newer), load_jar(older))
    files: dict[Path, str] = {
        WIRE / "messages" / f"{module}.py": write_module(messages)
        for module, messages in by_module(union.messages).items()
    }
    package = '"""Every message, one module an API. Load one by name: :func:`kgw_core.wire.message`."""'
    files[WIRE / "messages" / "__init__.py"] = f"{HEADER}\n{package}\n"
    files[WIRE / "index.py"] = write_index(union.messages, union.superseded)
    title = f"Where kafka-clients {NEWER} and {OLDER} disagree about a version that both define."
    files[REPORT] = "\n".join([title, "", *sorted(union.disagreements), ""])
    for stale in set((WIRE / "messages").glob("*.py")) - set(files):
        stale.unlink()
    for path, text in files.items():
        _write(path, text)
    print(
        f"{len(union.messages)} messages, {len(files) - 3} modules; {len(union.disagreements)} disagreements"
    )


def _write(path: Path, text: str) -> None:
    if not path.exists() or path.read_text() != text:
        path.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description="Generate the message classes.")
    parser.add_argument("--newer", type=Path, help=f"kafka-clients-{NEWER}.jar")
    parser.add_argument("--older", type=Path, help=f"kafka-clients-{OLDER}.jar")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        newer = options.newer or fetch_jar(NEWER, Path(folder))
        older = options.older or fetch_jar(OLDER, Path(folder))
        generate(newer, older)


if __name__ == "__main__":
    main()
