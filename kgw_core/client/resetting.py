"""Plans a reset of a group's offsets: the new offset of each partition. No I/O."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Literal, NamedTuple, TypeAlias

from kgw_core.client.failures import ClientError
from kgw_core.client.offsets import Partition
from kgw_core.errors import KafkaError

Found: TypeAlias = Mapping[Partition, int | KafkaError]


class Target(NamedTuple):
    """The target of a reset. ``value`` is an offset, a number of records, or ms since the epoch."""

    kind: Literal["earliest", "latest", "datetime", "offset", "shift"]
    value: int = 0


class Step(NamedTuple):
    """The reset of one partition from ``current`` (None if nothing is committed) to ``new``."""

    topic: str
    partition: int
    current: int | None
    new: int
    note: str = ""
    """Why ``new`` differs from the target."""


def plan(
    target: Target, partitions: Iterable[Partition], current: Mapping[Partition, int], earliest: Found,
    latest: Found, at_time: Found,
) -> list[Step]:  # fmt: skip
    """A step for each partition, within its first and last offset.

    :raises ClientError: names all partitions that cannot be reset.
    """
    steps, impossible = [], []
    for place in sorted(set(partitions)):
        try:
            steps.append(_step(target, place, current.get(place), earliest, latest, at_time))
        except ClientError as error:
            impossible.append(f"{place[0]}-{place[1]}: {error}")
    if impossible:
        raise ClientError("\n".join(impossible))
    return steps


def _step(
    target: Target, place: Partition, current: int | None, earliest: Found, latest: Found, at_time: Found
) -> Step:
    first, last = _known(earliest, place), _known(latest, place)
    note = ""
    if target.kind == "earliest":
        new = first
    elif target.kind == "latest":
        new = last
    elif target.kind == "datetime":
        new = _known(at_time, place)
        if new < 0:
            new, note = last, "nothing is as new as that: the end"
    elif target.kind == "offset":
        new = target.value
    elif current is None:
        raise ClientError("nothing is committed, so there is nothing to shift")
    else:
        new = current + target.value
    if new < first:
        new, note = first, f"{new} is before the beginning"
    elif new > last:
        new, note = last, f"{new} is beyond the end"
    return Step(*place, current, new, note)


def _known(found: Found, place: Partition) -> int:
    value = found.get(place)
    if isinstance(value, int):
        return value
    raise ClientError(str(value) if value is not None else "the broker told nothing of it")
