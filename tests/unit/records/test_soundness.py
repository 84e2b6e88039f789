"""The report about stored batches that are not sound, which an earlier version may have stored."""

from __future__ import annotations

import pytest

from kgw_core.records import Codec, RecordBatch, build_batch
from kgw_core.records.soundness import problem_of
from tests.corrupt.answers import KGW, answers
from tests.corrupt.asking import TAKEN, Answer
from tests.corrupt.kinds import KINDS, Kind

NOW = 1_700_000_000_000
STORED = [
    kind
    for kind in KINDS
    if kind.topic == "plain" and kind.group not in ("header", "bomb") and "LogAppendTime" not in kind.name
]


@pytest.mark.parametrize("kind", STORED, ids=lambda kind: kind.key)
def test_what_is_taken_as_it_is_has_no_problem_and_the_rest_has_one(kind: Kind) -> None:
    """Times before 1970 apart, which are taken as they are, with -1 for the max timestamp."""
    problem = problem_of(RecordBatch(kind.make(NOW)))
    if kind.name == "timestamp of more than 64 bits":
        assert problem is not None
    elif answers(KGW)[kind.key] == Answer(TAKEN):
        assert problem is None
    else:
        assert problem is not None


@pytest.mark.parametrize("codec", list(Codec))
def test_batches_that_are_right(codec: Codec) -> None:
    records = [(b"k", b"v", NOW + at) for at in range(100)]
    assert problem_of(RecordBatch(build_batch(records, codec=codec))) is None
    assert problem_of(RecordBatch(build_batch(records, codec=codec, log_append_time=5))) is None
    gaps = RecordBatch(build_batch(records, codec=codec, last_offset=200))
    assert problem_of(gaps, compacted=True) is None
    empty = RecordBatch(build_batch([], last_offset=3))
    assert problem_of(empty, compacted=True) is None
    assert problem_of(empty) == "it has no records"
