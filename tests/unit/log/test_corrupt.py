"""Every kind of corrupt batch gets what the table says it gets, and nothing corrupt is ever kept."""

from __future__ import annotations

import anyio
import pytest
from broker_kit import NOW, Kit, view

from kgw_core.errors import KafkaError, error_name
from kgw_core.log import validator
from kgw_core.log.validator import NamesRecords
from kgw_core.pending import Pending
from kgw_core.records import RecordBatch, iter_records, walk
from kgw_core.records.soundness import problem_of
from tests.corrupt.answers import KAFKA, KGW, NOTES, answers, differ, kinds_of, note_of
from tests.corrupt.asking import TAKEN, Answer, difference
from tests.corrupt.kinds import KINDS, TOPICS, Kind
from tests.corrupt.page import PAGE, page

pytestmark = pytest.mark.anyio

FORMS = ["python", "compiled"] if walk.COMPILED else ["python"]


@pytest.fixture(params=FORMS)
def form(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each form of the walk."""
    if request.param == "python":
        monkeypatch.setattr(walk, "walk", walk.walk_or_none)
        monkeypatch.setattr(validator, "ON_LOOP_RECORDS", validator.ON_LOOP_SLOWLY)
    return str(request.param)


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.key)
async def test_what_becomes_of_a_kind(kit: Kit, form: str, kind: Kind) -> None:
    if kind.group == "bomb" and form != FORMS[-1]:
        pytest.skip("takes long, and it is the inflating that matters")
    sent = kind.make(NOW)
    answer, stored = await what_becomes(kit, kind, sent)
    assert answer == answers(KGW)[kind.key]
    if stored is not None:
        check_readable(stored)


async def what_becomes(kit: Kit, kind: Kind, sent: bytes) -> tuple[Answer, bytes | None]:
    configs = {name.replace(".", "_"): value for name, value in TOPICS[kind.topic].items()}
    log = await kit.log("t", **configs)
    try:
        outcome = log.append(view(sent), False)
        if isinstance(outcome, Pending):
            with anyio.fail_after(30):
                await outcome.wait()
    except KafkaError as error:
        assert log.high_watermark == 0, "nothing is kept"
        named = error.batch_indexes if isinstance(error, NamesRecords) else ()
        return Answer(error_name(error.code), tuple(named)), None
    (run,) = log.read_now(0, 100 << 20) or ()
    return Answer(TAKEN, (), difference(sent, bytes(run.data), NOW)), bytes(run.data)


def check_readable(stored: bytes) -> None:
    """A stored batch has a true header, and our reader can read it."""
    batch = RecordBatch(stored)
    batch.check_crc()
    assert problem_of(batch) is None
    records = list(iter_records(batch))
    assert [record.offset for record in records] == list(range(batch.base_offset, batch.next_offset))
    assert batch.max_timestamp == max(-1, *(record.timestamp for record in records))


async def test_kafka_and_kgw_differ_only_where_a_note_says_why() -> None:
    kafka, kgw = answers(KAFKA), answers(KGW)
    assert list(kafka) == list(kgw) == [kind.key for kind in KINDS]
    for kind in KINDS:
        if differ(kafka[kind.key], kgw[kind.key]):
            assert note_of(kind) is not None, kind.key
    for note in NOTES:
        assert any(differ(kafka[kind.key], kgw[kind.key]) for kind in kinds_of(note)), note.title


async def test_what_kafka_refuses_is_refused_here() -> None:
    kafka, kgw = answers(KAFKA), answers(KGW)
    assert [key for key in kafka if kafka[key].code != TAKEN and kgw[key].code == TAKEN] == []


async def test_the_page_shows_the_table() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "python -m tests.corrupt.page"


@pytest.mark.parametrize("checking", ["frame", "header"])
async def test_less_can_be_looked_at(kit: Kit, form: str, checking: validator.CheckRecords) -> None:
    """ "frame": the lengths and the number of the records are right; "header": what it says of itself."""
    kit.change_logs(check_records=checking)
    by_key = {kind.key: kind for kind in KINDS}
    for key, framed in {
        "plain/record: length over the end of the batch": True,
        "plain/record, gzip: length over the end of the batch": True,
        "plain/record: zeros after the last": True,
        "plain/header: more records counted than there are": True,
        "plain/zstd: garbage": True,
        "plain/record: key length over the record": False,
        "plain/record: header key null": False,
        "plain/record: length into the next record": True,
    }.items():
        answer, _ = await what_becomes(kit, by_key[key], by_key[key].make(NOW))
        assert (answer.code == "INVALID_RECORD") == (framed and checking == "frame"), key
        await kit.catalog.delete("t")
    for key in ("plain/header: last offset delta too large", "plain/time: LogAppendTime"):
        answer, _ = await what_becomes(kit, by_key[key], by_key[key].make(NOW))
        assert answer.code in ("INVALID_RECORD", "INVALID_TIMESTAMP")
        await kit.catalog.delete("t")
    for key in ("compacted/key: none in one record", "compacted/key: length -2 in one record"):
        answer, _ = await what_becomes(kit, by_key[key], by_key[key].make(NOW))
        assert answer == Answer("INVALID_RECORD", (1,)), "compaction needs to be sure"
        await kit.catalog.delete("t")
