"""``python -m tests.corrupt.page`` writes docs/reference/corrupt-batches.md from kinds and answers."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from tests.corrupt.answers import KAFKA, KGW, NOTES, answers, kinds_of, note_of
from tests.corrupt.asking import TAKEN, Answer
from tests.corrupt.kinds import TOPICS, by_group

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "corrupt-batches.md"

HEAD = """\
# Corrupt batches

This page shows how Apache Kafka 4.4.0 and kgw treat {kinds} kinds of record batches with a correct CRC and
wrong or odd contents. Kafka stores {kafka} of them unchanged, and kgw {kgw}. kgw stores {anew} more after
it has corrected the header or compressed the records again. `tests/corrupt/kinds.py` has the kinds, and
`python -m tests.corrupt HOST:PORT` sends them to any broker. `python -m tests.corrupt.page` makes this
page.

- **The check.** kgw checks all records of a batch before it stores it. With `topics.check_records =
  "frame"` it checks only the lengths of the records and their number, with `"header"` no records
  ([configuration](configuration.md#topics)). Message sets of Produce v0 to v2 are checked in the same way.
- **The errors.** INVALID_RECORD means that a record is malformed (`record_errors` names the first one), or
  that the records cannot be decompressed; Kafka answers UNKNOWN_SERVER_ERROR in the second case.
  INVALID_TIMESTAMP means that the topic refuses the times of some records (at most {named} are named).
  MESSAGE_TOO_LARGE means that the records inflate to more than `limits.max_inflated_batch`. CORRUPT_MESSAGE
  means that CRC, length or format of the batch is wrong; clients send the batch again only after this one.
- **The corrections.** The max timestamp in the header becomes the largest timestamp of the records,
  whatever the client wrote (some versions of Sarama write -1). It becomes -1 if that is before 1970, as in
  Kafka.

## Differences from Kafka

We stored such batches in Kafka and read them with these consumers: Java 4.4.0, librdkafka 2.16,
kafka-python 3.0, aiokafka 0.14, franz-go 1.20, Sarama 1.46, kafka-go 0.4.49. "Stops" means that the
consumer never gets past the batch.

"""

TITLES = {
    "header": "The header and the number of records",
    "record": "Records, not compressed",
    "record, gzip": "The same records, compressed",
    "gzip": "Gzip", "snappy": "Snappy", "lz4": "LZ4", "zstd": "Zstandard",
    "bomb": "Small batches that inflate to much",
    "time": "Timestamps",
    "key": "Keys",
}  # fmt: skip


def page() -> str:
    """The text of the page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    from kgw_core.log.validator import MOST_NAMED

    kafka, kgw = answers(KAFKA), answers(KGW)
    as_they_are = Answer(TAKEN)
    yield HEAD.format(
        kinds=len(kgw),
        kafka=sum(answer == as_they_are for answer in kafka.values()),
        kgw=sum(answer == as_they_are for answer in kgw.values()),
        anew=sum(answer.code == TAKEN and answer != as_they_are for answer in kgw.values()),
        named=MOST_NAMED,
    ).rstrip("\n")
    yield ""
    for number, note in enumerate(NOTES, 1):
        yield f"{number}. **{note.title}** ({len(kinds_of(note))} kinds). {note.text}"
    for group, kinds in by_group():
        yield f"\n## {TITLES[group]}\n"
        yield "| kind | Kafka 4.4.0 | kgw | |"
        yield "|---|---|---|---|"
        for kind in kinds:
            name = kind.name + (f" ({_configs(kind.topic)})" if kind.topic != "plain" else "")
            found = note_of(kind)
            number_of = f"[{NOTES.index(found) + 1}](#differences-from-kafka)" if found else ""
            yield f"| {name} | {_cell(kafka[kind.key])} | {_cell(kgw[kind.key])} | {number_of} |"


def _configs(topic: str) -> str:
    return ", ".join(f"`{name}={value}`" for name, value in TOPICS[topic].items())


def _cell(answer: Answer) -> str:
    parts = [answer.code]
    if answer.culprits:
        parts.append(
            "record" + ("s " if len(answer.culprits) > 1 else " ") + ", ".join(map(str, answer.culprits))
        )
    if answer.stored:
        parts.append(answer.stored.replace("->", "→"))
    return ": ".join(parts)


def main() -> int:
    PAGE.write_text(page(), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
