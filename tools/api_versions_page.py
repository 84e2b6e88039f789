"""Writes docs/reference/api-versions.md from the handler registry: ``python -m tools.api_versions_page``.

Kafka's ranges are those of the definitions (``kgw_core.wire.index``): the union of releases 4.4.0 and 3.9.1.
"""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from kgw_core.api import registry
from kgw_core.wire import index

PAGE = Path(__file__).parents[1] / "docs" / "reference" / "api-versions.md"

INTRO = """\
# APIs and versions

These are the APIs and versions in the gateway's answer to ApiVersions. `python -m tools.api_versions_page`
writes this page from the handlers.

**Kafka** has the widest range of Kafka 3.9 and 4.4 together, without unstable versions. The gateway logs a
request of a version outside of **here** and closes the connection, as Kafka does. Only ApiVersions is
answered in any version (KIP-511).

| Key | API | Here | Kafka | |
|---|---|---|---|---|
"""

ABSENT = """
## Not served

These APIs of Kafka's brokers are not in ApiVersions, so clients do not use them:

"""


def page() -> str:
    """The page's text."""
    served = registry.load()
    rows = []
    for name in registry.MODULES:
        module = import_module(f"kgw_core.api.{name}")
        api = module.API
        known = index.APIS[api.key]
        here, kafka = _range(*api.versions), _range(known.min_version, known.latest_stable)
        cells = (str(api.key), api.name, here, kafka, _summary(module.__doc__))
        rows.append((api.key, f"| {' | '.join(cells)} |\n"))
    absent = [
        f"- {api.name} ({key})\n"
        for key, api in sorted(index.APIS.items())
        if key not in served and "broker" in api.listeners
    ]
    return "".join([INTRO, *(row for _, row in sorted(rows)), ABSENT, *absent])


def _range(first: int, last: int) -> str:
    return f"{first}-{last}"


def _summary(doc: str | None) -> str:
    """The first sentence of a module's docstring, without the API's name before it."""
    first = " ".join((doc or "").split("\n\n", 1)[0].split())
    text = re.sub(r"^[^:.]*: ", "", first, count=1)
    text = re.sub(r", from :mod:`[^`]*`", "", text).replace("``", "`")
    return text[:1].upper() + text[1:]


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
