"""``python -m tests.corrupt.page``: docs/reference/corrupt-batches.md, from the kinds and the answers."""

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

What becomes of a record batch whose CRC is right and whose inside is wrong, or odd: {kinds} kinds, each
sent to Apache Kafka 4.4.0 and to kgw. Kafka keeps {kafka} of them as they came, kgw {kgw}; {anew} more
are taken by kgw with their header put right or their records packed anew. The kinds are in
`tests/corrupt/kinds.py`; `python -m tests.corrupt HOST:PORT` sends them to any broker.
`python -m tests.corrupt.page` makes this page.

- **Where it is decided.** All records of a batch are walked over before it is stored. With
  `topics.check_records = "frame"` only their lengths and their number are looked at, with `"header"` nothing
  ([configuration](configuration.md#topics)). Message sets of Produce v0 to v2 are read as closely.
- **What the client is told.** INVALID_RECORD where records are not well formed, with the first of them in
  `record_errors`, or where they cannot be decompressed; INVALID_TIMESTAMP with the records whose times the
  topic does not take (at most {named} are named); MESSAGE_TOO_LARGE where they inflate to more than
  `limits.max_inflated_batch`; CORRUPT_MESSAGE only for a CRC, a length or a format that is wrong, as clients
  then send again. Kafka answers UNKNOWN_SERVER_ERROR where it cannot decompress.
- **What is put right.** The max timestamp of the header becomes that of the records, whatever the client
  wrote (some versions of Sarama write -1), and -1 where that is before 1970, as in Kafka.

## Where kgw does something else than Kafka

Consumers tried on a Kafka that had taken such batches: Java 4.4.0, librdkafka 2.16, kafka-python 3.0,
aiokafka 0.14, franz-go 1.20, Sarama 1.46, kafka-go 0.4.49. "Stops" means that it never gets past the batch.

"""

TITLES = {
    "header": "The header and the number of records",
    "record": "Records, not compressed",
    "record, gzip": "The same records, compressed",
    "gzip": "Gzip", "snappy": "Snappy", "lz4": "LZ4", "zstd": "Zstandard",
    "bomb": "Little that inflates to much",
    "time": "Timestamps",
    "key": "Keys",
}  # fmt: skip


def page() -> str:
    """The text of the page."""
    return "\n".join(_lines()) + "\n"


def _lines() -> Iterator[str]:
    from kgw_core.log.looking import MOST_NAMED

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
            number_of = (
                f"[{NOTES.index(found) + 1}](#where-kgw-does-something-else-than-kafka)" if found else ""
            )
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
