"""The differences from Apache Kafka 4.4.0 that are meant, each with its reason."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any, Final, NamedTuple

from tools.replay.comparing import ANSWER, NOTHING, Difference

ANY: Final = "(anything)"


class Meant(NamedTuple):
    """Differences whose label and path fit these patterns (``*`` is any text), and whose values are these."""

    why: str
    label: str
    path: str = "*"
    theirs: Any = ANY
    ours: Any = ANY

    def covers(self, found: Difference) -> bool:
        """Whether ``found`` is one of them."""
        return (
            bool(_pattern(self.label).fullmatch(found.label))
            and bool(_pattern(self.path).fullmatch(found.path))
            and self.theirs in (ANY, found.theirs)
            and self.ours in (ANY, found.ours)
        )


def _pattern(text: str) -> re.Pattern[str]:
    return re.compile(".*".join(map(re.escape, text.split("*"))), re.DOTALL)


def reason(found: Difference) -> str | None:
    """Why the difference is meant; None where it is not."""
    return next((each.why for each in MEANT if each.covers(found)), None)


def unused(found: Iterable[Difference]) -> list[Meant]:
    """The entries of :data:`MEANT` that no difference has any more."""
    differences = list(found)
    return [each for each in MEANT if not any(each.covers(difference) for difference in differences)]


_ACCEPT = 'topics.replication_factor = "accept", as in kgw dev: a plain factor is taken as 1'
_AT_ONCE = "Kafka makes it later and says so; kgw has made it when it answers"
_COLLIDES = "names that differ in '.' for '_' only: kgw refuses each but the first, and says so at once"
_CRASH = "Kafka runs into an exception that it did not expect"
_ELR = "a Kafka with eligible leader replicas keeps it as a dynamic config of the cluster"
_NO_ID = "a topic that is only checked is not made, so it has no id"
_NO_REPLICAS = "there are no followers: whoever says to be one is served as a consumer"
_NOT_LATER = "a timeout of nothing is over at once in Kafka; kgw knows its answer by then"
_OTHER_WAY = "brokers are told beside an error, too"
_SPLIT = "kgw gives whole batches; Kafka cuts the last one off where the limit is, and clients drop the rest"
_STARTS = "kgw tells where the log starts beside every error that is about its records"
_TURNS = "full fetches of one connection begin with another partition each time, so that none starves"
_TWICE = "kgw appends both batches and answers for both; Kafka drops the first without a word"

MEANT: Final = (
    Meant(_ACCEPT, "create-topics: * replicas, CreateTopics *", "*.errorCode", 38, 0),
    Meant(
        "what may be created (limits.max_partitions) may be created at once",
        "create-topics: 10001 partitions, *",
        "*.errorCode",
        44,
        0,
    ),
    Meant(_ELR, "*CreateTopics *", "*.configs[min.insync.replicas].configSource", 3, 5),
    Meant(_ELR, "*DescribeConfigs *", "*.configs[min.insync.replicas].configSource", 3, 5),
    Meant(_NO_ID, "*CreateTopics v7", "*.topicId", "<an id>", "A" * 22),
    Meant(_COLLIDES, "create-topics-colliding: two in one, *", "*x_y].errorCode", 0, 17),
    Meant(_COLLIDES, "create-topics-colliding: which of them is there, *", "*x_y].errorCode", 0, 3),
    Meant(_COLLIDES, "metadata-creates: *collide*", "*.errorCode", 3, 17),
    Meant(_COLLIDES, "metadata-creates: what was made of those, *", "*x_y].errorCode", 0, 3),
    Meant(_AT_ONCE, "metadata-creates: *", "*.errorCode", 3, 0),
    Meant("a ratio is a number", "create-topics-configs: a ratio that is none, *", "*.errorCode", 0, 40),
    Meant(_OTHER_WAY, "metadata-by-id: *", "brokers", [], ["1"]),
    Meant(_OTHER_WAY, "metadata-by-id: *", "controllerId", -1, 1),
    Meant(_CRASH, "metadata-by-id: neither*", "*errorCode", -1),
    Meant("Kafka forgets names beside ids", "metadata-by-id: unknown id beside a name, *", "*", NOTHING),
    Meant(
        "the number of a partition overflows in Kafka",
        "describe-topic-partitions: from a cursor far past the end, *",
        "nextCursor",
    ),
    Meant(_NOT_LATER, "elect-leaders: timeout *", "*errorCode", 7),
    Meant(
        "nothing takes metrics here, so their configs cannot be changed",
        "describe-configs: metrics that are not there, *",
        "*.readOnly",
        False,
        True,
    ),
    Meant("Kafka does not answer", "alter-configs: a topic twice, *", "", "no answer", ANSWER),
    Meant(_CRASH, "fetch-places: no id*", "errorCode", -1, 0),
    Meant(_CRASH, "fetch-numbers: -* bytes *", "*.errorCode", -1, 0),
    Meant(_CRASH, "fetch-numbers: isolation *", "*errorCode", -1, 0),
    Meant(_CRASH, "list-offsets: isolation *", "*.errorCode", -1, 0),
    Meant(_SPLIT, "fetch-numbers: 150 bytes *", "*.records"),
    Meant(_SPLIT, "fetch-that-is-small: two batches, *", "*.records"),
    Meant(_TURNS, "fetch-that-is-small: next, *", "*.records"),
    Meant(_NO_REPLICAS, "fetch-as-a-follower: *", "*.errorCode", 6, 0),
    Meant("'NONE' is no message", "find-coordinator: type 0, *", "errorMessage", "text", None),
    Meant("kgw answers by the request's entries", "produce-places: a topic twice, *"),
    Meant(_TWICE, "produce-a-partition-twice: *"),
    Meant(_STARTS, "produce-refused: *", "*.logStartOffset", -1, 2),
    Meant(_CRASH, "produce-refused: an unknown codec, *", "*.errorCode", -1, 76),
    Meant("Kafka does not answer", "produce-refused: null, *", "", "no answer", ANSWER),
    Meant(
        "there are no transactions yet", "produce-refused: a transactional batch, *", "*.errorCode", 53, 48
    ),
    Meant(
        "Kafka gives a duplicate's time; clients take it for the broker's, for each record",
        "produce-in-sequence: *",
        "*.logAppendTimeMs",
        1_700_000_000_000,
        -1,
    ),
    Meant("these features are at other levels here", "update-features: t*, *", "errorCode", 0, 95),
    Meant("sequences are checked in every epoch", "produce-without-an-epoch: a gap, *", "*.errorCode", 0, 45),
)
"""In the order of the scenes."""
