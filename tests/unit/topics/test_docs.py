"""The reference pages of configs; ``python tests/unit/topics/test_docs.py`` writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kgw_core.topics.broker_config_table import BROKER_CONFIGS
from kgw_core.topics.definitions import TOPIC_CONFIGS
from kgw_core.topics.dynamic_configs import DYNAMIC_CONFIGS
from kgw_core.topics.values import TYPE_NAMES, Definition, wanted

REFERENCE = Path(__file__).parents[3] / "docs" / "reference"

TOPICS_INTRO = """\
# Topic configs

Every config of Kafka 4.4 can be set on a topic, with Kafka's name, type, default and bounds. A name that
Kafka does not know, or a value that it would refuse, is refused with `INVALID_CONFIG`, which says what is
allowed.

A topic that does not set a config has the default that was set for brokers at run time
([broker configs](broker-configs.md)), else the gateway's from `[topics.defaults]` in the config file, else
Kafka's. There, the broker's name for it (`log.retention.hours`) does as well as the topic's
(`retention.ms`).

**Effect here** says whether the gateway acts on the value. Where it does not, the value is checked, kept and
told, and nothing else. A change counts from the next append on, for retention from the next look on.

**Retention** looks every `topics.retention_check_interval` at the topics whose `cleanup.policy` has delete.
There are no segments here: whole batches go from the front of a partition while they are older than
`retention.ms` (by their largest timestamp), then while at least `retention.bytes` would be left. So less is
kept beyond its time than in Kafka, where records go a segment at a time, and `segment.*` has no effect. A
timestamp before 1970 is none, as in Kafka: a batch without any ages from when it was written, which the store
keeps over restarts. In a database of before kgw kept that, all that was there ages from the upgrade. A store
that has a retention of its own (`native_retention`) sees to it itself.

**Compaction** looks every `topics.compaction_check_interval` at the topics whose `cleanup.policy` has
compact. Of each key the last record stays; a tombstone goes `delete.retention.ms` after it was first seen as
one. Records without a key are refused. For `min.compaction.lag.ms` and `max.compaction.lag.ms`, records
without a timestamp are as old as their writing. A store whose `replace` returns False keeps everything, and
the gateway says so once.
"""

OBSOLETE_INTRO = """
## From Kafka 3

Kafka 4 no longer knows these. They are accepted, and told of only where they are set.
"""

BROKER_INTRO = """\
# Broker configs

What the gateway tells an admin tool that describes a broker's configs.

**Value** says where a value comes from: a setting of the gateway, a fixed value, or Kafka's default. "Shown
only" is the last: tools look for it, and it has no effect.

**At run time** says which ones AlterConfigs and IncrementalAlterConfigs change: those of Kafka's dynamic
configs that have an effect here. `kafka-configs --alter --entity-type brokers` sets them for all brokers
(`--entity-default`) or for this one (`--entity-name 1`), which wins; both win over the settings, and deleting
them brings the settings back. They are kept in the gateway's state, and in force before the answer: defaults
of topics from the next append on, retention and compaction from their next look on, connections for those
that come. All others are refused by name with `INVALID_REQUEST`, as Kafka refuses what is not dynamic; so are
names that Kafka does not know, which it takes without an effect.

**Where a value comes from** is told as in Kafka: `DYNAMIC_BROKER_CONFIG` and `DYNAMIC_DEFAULT_BROKER_CONFIG`
for what was set at run time, `STATIC_BROKER_CONFIG` for what the settings say or what differs from Kafka's
default, else `DEFAULT_CONFIG`. Synonyms come in this order. The entry of all brokers (`""`) tells what is set
for all of them at run time.
"""


def cell(text: str | None) -> str:
    if text is None:
        return "none"
    return f"`{text}`" if text else "empty"


def topic_rows(obsolete: bool) -> list[str]:
    def row(definition: Definition) -> str:
        synonyms = ", ".join(f"`{name}`" for name, _ in definition.synonyms) or "none"
        effect = "yes" if definition.effective else "no"
        kind, default = TYPE_NAMES[definition.type], cell(definition.default)
        cells = (f"`{definition.name}`", kind, default, wanted(definition), synonyms, effect, definition.doc)
        return "| " + " | ".join(cells) + " |\n"

    rows = [row(entry) for entry in TOPIC_CONFIGS.values() if entry.obsolete is obsolete]
    head = "| Name | Type | Default | Allowed | Broker's name | Effect here | |\n"
    return [head, "|---|---|---|---|---|---|---|\n", *rows]


def topic_page() -> str:
    return "".join([TOPICS_INTRO, "\n", *topic_rows(False), OBSOLETE_INTRO, "\n", *topic_rows(True)])


def broker_page() -> str:
    rows = []
    for config in BROKER_CONFIGS.values():
        if config.setting is not None:
            value = f"setting `{config.setting}`"
        elif config.here is not None:
            value = f"always {cell(config.here)}"
        else:
            value = "Kafka's default" if config.name in DYNAMIC_CONFIGS else "shown only"
        kind, dynamic = TYPE_NAMES[config.type], "yes" if config.name in DYNAMIC_CONFIGS else ""
        cells = (f"`{config.name}`", kind, cell(config.default), value, dynamic, config.doc)
        rows.append("| " + " | ".join(cells) + " |\n")
    head = "| Name | Type | Kafka's default | Value | At run time | |\n|---|---|---|---|---|---|\n"
    return "".join([BROKER_INTRO, "\n", head, *rows])


PAGES: dict[str, Callable[[], str]] = {"topic-configs.md": topic_page, "broker-configs.md": broker_page}


@pytest.mark.parametrize("page", PAGES)
def test_the_reference_page_shows_the_table(page: str) -> None:
    text = (REFERENCE / page).read_text(encoding="utf-8")
    assert text == PAGES[page](), f"run python {Path(__file__).name} to write docs/reference/{page}"


if __name__ == "__main__":
    for name, render in PAGES.items():
        (REFERENCE / name).write_text(render(), encoding="utf-8")
