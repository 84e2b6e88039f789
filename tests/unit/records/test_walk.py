"""The walk over the records of a batch: both forms agree with each other and with the readers."""

from __future__ import annotations

import os
import random
import shutil
import struct
import subprocess
import sysconfig
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kgw_core.records import HEADER_SIZE, Record, RecordBatch, build_batch, iter_records, walk
from kgw_core.records.alike import alike
from kgw_core.records.varint import encode_varint as v
from kgw_core.records.walk import NULL_KEY, OUT_OF_ORDER, Walked, fault_in, glances

SETTINGS = settings(derandomize=True, deadline=None, max_examples=300)

Walk = Callable[..., Walked | None]


python = walk.walk_or_none
FORMS = {"python": python}
if walk.COMPILED:
    FORMS["compiled"] = walk.walk


@pytest.fixture(params=FORMS.values(), ids=FORMS)
def form(request: pytest.FixtureRequest) -> Walk:
    found: Walk = request.param
    return found


def framed(body: bytes) -> bytes:
    return v(len(body)) + body


def one(
    time: bytes = v(0), offset: bytes = v(0), key: bytes = v(1) + b"k", value: bytes = v(1) + b"v",
    headers: bytes = v(0), attributes: bytes = b"\0",
) -> bytes:  # fmt: skip
    return framed(attributes + time + offset + key + value + headers)


def test_here_it_is_compiled() -> None:
    """The package was installed from this tree with a C compiler, as in CI."""
    compiler = os.environ.get("CC") or "cc"
    if shutil.which(compiler) is None or not Path(sysconfig.get_paths()["include"], "Python.h").exists():
        pytest.skip("no C compiler, or no headers of Python's")
    assert walk.COMPILED, "there is a C compiler by now: rm .venv/.installed; make setup"


class TestWhatIsFound:
    def test_one_record(self, form: Walk) -> None:
        assert form(one(), 0, 1) == (0, 0, 0)

    def test_any_kind_of_bytes_from_any_place_on(self, form: Walk) -> None:
        for data in (b"xx" + one(), bytearray(b"xx" + one()), memoryview(b"xx" + one())):
            assert form(data, 2, 1) == (0, 0, 0)

    def test_the_lowest_and_the_highest_time(self, form: Walk) -> None:
        deltas = (5, -7, 2**40, -(2**41), 0)
        data = b"".join(one(time=v(delta), offset=v(at)) for at, delta in enumerate(deltas))
        assert form(data, 0, 5) == (0, -(2**41), 2**40)
        assert form(one(time=v(9)), 0, 1) == (0, 9, 9)
        assert form(one(time=v(2**63 - 1)) + one(v(-(2**63)), v(1)), 0, 2) == (0, -(2**63), 2**63 - 1)

    def test_a_null_key(self, form: Walk) -> None:
        assert form(one() + one(offset=v(1), key=v(-1)), 0, 2) == (NULL_KEY, 0, 0)
        assert form(one(key=v(0)), 0, 1) == (0, 0, 0)
        assert form(one(key=b"\x81\x00"), 0, 1) == (NULL_KEY, 0, 0)

    @pytest.mark.parametrize("second", [0, 2, -1, 2**31 - 1, -(2**31)])
    def test_offset_deltas_that_do_not_count_up(self, form: Walk, second: int) -> None:
        assert form(one() + one(offset=v(second)), 0, 2) == (OUT_OF_ORDER, 0, 0)

    def test_offset_deltas_of_every_width(self, form: Walk) -> None:
        count = 20_000
        body = b"".join(framed(b"\0\0" + v(at) + b"\0\1\0") for at in range(count))
        assert form(body, 0, count) == (0, 0, 0)
        assert form(body, 0, count - 1) is None

    @pytest.mark.parametrize("lead", [*range(0x80, 0x100, 3), 0xC2, 0xE0, 0xED, 0xEF, 0xF0, 0xF4, 0xF5])
    def test_keys_of_headers_are_utf_8(self, form: Walk, lead: int) -> None:
        seconds = (0x41, 0x7F, 0x80, 0x8F, 0x90, 0x9F, 0xA0, 0xBF, 0xC0)
        more = (b"", b"\x80", b"\xbf\x80", b"A\x80", b"\x80A", b"\x80\x80A")
        tails = [bytes((second,)) + rest for second in seconds for rest in more]
        for tail in (b"", *tails):
            key = b"k" + bytes((lead,)) + tail
            try:
                key.decode()
            except UnicodeDecodeError:
                wanted = None
            else:
                wanted = (0, 0, 0)
            assert form(one(headers=v(1) + v(len(key)) + key + v(-1)), 0, 1) == wanted, key

    def test_headers(self, form: Walk) -> None:
        headers = (
            v(3) + (v(1) + b"h" + v(1) + b"w") + (v(0) + v(-1)) + (v(3) + "é€"[:1].encode() + b"k" + v(0))
        )
        assert form(one(headers=headers), 0, 1) == (0, 0, 0)

    def test_null_value_and_the_widest_varints(self, form: Walk) -> None:
        assert form(one(value=v(-1)), 0, 1) == (0, 0, 0)
        wide = b"\x80\x80\x80\x80\x00"  # a length alone has to be written in as few bytes as can be
        assert form(one(b"\x80" * 9 + b"\0", wide, wide, wide, wide), 0, 1) == (0, 0, 0)

    def test_lengths_alone(self, form: Walk) -> None:
        assert form(framed(b"anything") + framed(b""), 0, 2, True) == (0, 0, 0)
        for data, count in (
            (framed(b"x"), 2),
            (framed(b"x") * 2, 1),
            (v(-1), 1),
            (v(2), 1),
            (b"\xff" * 9, 1),
        ):
            assert form(data, 0, count, True) is None


FAULTS = {
    "nothing": b"",
    "a length without a record": v(3),
    "an empty record": framed(b""),
    "too long by one": v(9) + one()[1:],
    "too short by one": v(7) + one()[1:],
    "a negative length": v(-7) + one()[1:],
    "a length without end": b"\xff" * 30,
    "a length of 33 bits": b"\x8e\x80\x80\x80\x10" + one()[1:],
    "a length in more bytes than it needs": b"\x8e\x00" + one()[1:],
    "something behind it": one() + b"\0",
    "attributes over 0x7f": one(attributes=b"\x80"),
    "a time without end": one(time=b"\x80" * 30),
    "a time of 65 bits": one(time=b"\x80" * 9 + b"\x02"),
    "an offset without end": one(offset=b"\x80" * 30),
    "an offset of 33 bits": one(offset=b"\x80\x80\x80\x80\x10"),
    "a key of length -2": one(key=v(-2)),
    "a key of length -2**31": one(key=v(-(2**31))),
    "a key over the record": one(key=v(100) + b"k") + bytes(200),
    "a key over the data": one(key=v(2**31 - 1) + b"k"),
    "a value of length -2": one(value=v(-2)),
    "a value over the record": one(value=v(3) + b"v"),
    "no header count": framed(b"\0" + v(0) + v(0) + v(0) + v(0)),
    "-1 headers": one(headers=v(-1)),
    "2**31 - 1 headers": one(headers=v(2**31 - 1)),
    "a header too few": one(headers=v(2) + v(0) + v(0)),
    "a header too many": one(headers=v(1) + v(0) + v(0) + v(0) + v(0)),
    "a null key of a header": one(headers=v(1) + v(-1) + v(0)),
    "a header's key over the record": one(headers=v(1) + v(9) + b"h" + v(0)),
    "a header's key that is not UTF-8": one(headers=v(1) + v(2) + b"\xff\xfe" + v(0)),
    "a header's value of length -2": one(headers=v(1) + v(0) + v(-2)),
    "a header's value over the record": one(headers=v(1) + v(0) + v(9) + b"w"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_what_is_not_well_formed(form: Walk, name: str) -> None:
    assert form(FAULTS[name], 0, 1) is None
    fault = fault_in(FAULTS[name], 0, 1)
    assert fault.number == 0
    assert fault.reason != "it is not well formed", "walk_python finds the reason"
    behind = one() + FAULTS[name]
    if name != "nothing":
        assert form(behind, 0, 2) is None
        assert str(fault_in(behind, 0, 2)).startswith("record 1: ")


def test_every_cut_is_found(form: Walk) -> None:
    data = one(headers=v(1) + v(1) + b"h" + v(1) + b"w") + one(offset=v(1))
    assert form(data, 0, 2) == (0, 0, 0)
    for end in range(len(data)):
        assert form(data[:end], 0, 2) is None
        assert form(data[end + 1 :], 0, 2) is None


@pytest.mark.parametrize("count", [0, -1, -(2**31)])
def test_no_records_are_none(form: Walk, count: int) -> None:
    assert form(one(), 0, count) is None


@pytest.mark.skipif(not walk.COMPILED, reason="the compiled form is not there")
class TestTheCompiledForm:
    def test_a_place_outside_of_the_data(self) -> None:
        for at in (-1, len(one()) + 1, 2**40):
            assert walk.walk(one(), at, 1) is None

    def test_arguments_of_another_type(self) -> None:
        for arguments in (
            (),
            (one(), 0),
            (one(), "0", 1),
            ("text", 0, 1),
            (one(), 0, 1.5),
            (one(), 0, 2**70),
        ):
            with pytest.raises((TypeError, OverflowError, BufferError)):
                walk.walk(*arguments)

    def test_a_long_walk_lets_other_threads_run(self) -> None:
        body = framed(b"\0\0" + v(5) + b"\0\1\0") * 5_000_000
        turns: list[float] = []
        over = threading.Event()

        def count() -> None:
            while not over.is_set():
                turns.append(time.monotonic())

        other = threading.Thread(target=count)
        other.start()
        meanwhile = 0
        for _ in range(100):  # on a busy machine the other thread may not run during one walk
            begin = time.monotonic()
            found = walk.walk(body, 0, 5_000_000)
            end = time.monotonic()
            meanwhile += sum(begin < turn < end for turn in turns)
            turns.clear()
            if meanwhile > 100:
                break
        over.set()
        other.join()
        assert found == (OUT_OF_ORDER, 0, 0)
        assert meanwhile > 100


records = st.lists(
    st.builds(
        Record,
        st.none() | st.binary(max_size=150),
        st.none() | st.binary(max_size=150),
        st.integers(-1, 2**42) | st.integers(-(2**62), 2**62),
        st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=9)), max_size=3),
    ),
    min_size=1,
    max_size=12,
)


@SETTINGS
@given(records)
def test_what_is_built_is_well_formed(built: list[Record]) -> None:
    data = build_batch(built)
    batch = RecordBatch(data)
    for form in FORMS.values():
        found = form(data, HEADER_SIZE, len(built))
        assert found is not None
        flags, lowest, highest = found
        times = [record.timestamp - batch.base_timestamp for record in built]
        assert (lowest, highest) == (min(times), max(times))
        assert flags == (NULL_KEY if any(record.key is None for record in built) else 0)
    seen = list(glances(bytes(data), HEADER_SIZE, len(built)))
    assert [glance.time_delta for glance in seen] == times
    assert [glance.has_key for glance in seen] == [record.key is not None for record in built]
    assert [(glance.number, glance.offset_delta) for glance in seen] == [(at, at) for at in range(len(built))]


def mutated(data: bytearray, rng: random.Random) -> bytearray:
    """A few bytes other, gone, or more."""
    for _ in range(rng.choice((1, 1, 1, 2, 5))):
        at = rng.randrange(len(data) + 1)
        kind = rng.randrange(5)
        if kind == 0 and at < len(data):
            data[at] = rng.choice((0, 1, 2, 3, 0x7F, 0x80, 0x81, 0xFF, rng.randrange(256)))
        elif kind == 1:
            del data[at : at + rng.randint(1, 5)]
        elif kind == 2:
            data[at:at] = rng.randbytes(rng.randint(1, 5))
        elif kind == 3 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        else:
            data[at:at] = rng.choice((b"\x80\x00", b"\x81\x00", b"\xff" * 10, b"\x80" * 4 + b"\x10", b"\x01"))
    return data


def small_payload(rng: random.Random) -> tuple[bytearray, int]:
    count = rng.randint(1, 4)
    data = bytearray()
    for at in range(count):
        key = v(-1) if rng.random() < 0.3 else rng.choice((v(0), v(3) + b"abc"))
        headers = v(0) if rng.random() < 0.6 else v(1) + v(1) + b"h" + rng.choice((v(-1), v(2) + b"ww"))
        size = rng.choice((-1, 0, 4, 70))
        value = v(size) + b"v" * size
        data += one(v(rng.choice((0, 0, 5, -3, 10**6))), v(at), key, value, headers)
    return data, count


@pytest.mark.skipif(not walk.COMPILED, reason="the compiled form is not there")
@pytest.mark.parametrize("seed", range(20))
def test_both_forms_find_the_same_in_whatever_comes(seed: int) -> None:
    """The strict reader reads the accepted batches, with the same times."""
    rng = random.Random(seed)
    passed = 0
    for _ in range(1500):
        data, count = small_payload(rng)
        data = mutated(data, rng)
        if rng.random() < 0.1:
            count += rng.choice((-1, 1))
        at = rng.choice((0, 0, 0, 1))
        frame = rng.random() < 0.1
        wanted = python(data, at, count, frame) if count > 0 else None
        assert walk.walk(data, at, count, frame) == wanted, (bytes(data), at, count, frame)
        if wanted is not None and not frame:
            passed += 1
            _read_all(bytes(data[at:]), count, wanted)
    assert passed > 20


def alike_payload(rng: random.Random) -> tuple[bytearray, int]:
    """Many records of one shape, or of a few, as the Python form looks at them column by column."""
    count = rng.choice((20, 63, 64, 65, 90, 200))
    key = rng.choice((v(-1), v(3) + b"key", v(100) + b"k" * 100))
    size = rng.choice((-1, 0, 5, 100))
    value = v(size) + b"v" * size
    headers = v(0) if rng.random() < 0.8 else v(1) + v(1) + b"h" + v(-1)
    times = rng.choice(((0,), (0, 1, -1, 63), (64, 8000, -8000), (5, 70), (10**6,)))
    data = bytearray()
    for at in range(count):
        if rng.random() < 0.01:
            value = v(max(size, 0) + 1) + b"w" * (max(size, 0) + 1)
        data += one(v(rng.choice(times)), v(at), key, value, headers)
    return data, count


@pytest.mark.skipif(not walk.COMPILED, reason="the compiled form is not there")
@pytest.mark.parametrize("seed", range(10))
def test_both_forms_find_the_same_in_many_records_of_one_shape(seed: int) -> None:
    rng = random.Random(seed)
    passed = 0
    for _ in range(300):
        data, count = alike_payload(rng)
        if rng.random() < 0.8:
            at = rng.randrange(len(data))
            data[at] = rng.choice((data[at] ^ 1 << rng.randrange(8), 0, 1, 0x80, data[at] + 1 & 0xFF))
        count += rng.choice((0, 0, 0, 0, -1, 1))
        wanted = walk.walk(data, 0, count)
        assert python(data, 0, count) == wanted, (data.hex(), count)
        passed += wanted is not None
    assert 100 < passed < 300


def test_many_records_of_one_shape_take_no_step_each(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []

    def noted(*arguments: Any) -> tuple[int, int, int]:
        found = alike(*arguments)
        seen.append(found[0])
        return found

    monkeypatch.setattr(walk, "alike", noted)
    data = b"".join(one(v(at // 1000), v(at)) for at in range(20_000))
    assert python(data, 0, 20_000) == (0, 0, 19)
    assert sum(seen) > 20_000 - 100
    for at in (70, 8191, 8192, 9000, 16_384, 19_999):
        for wrong in (at - 1, at + 64, at + 8192):
            place = len(b"".join(one(v(number // 1000), v(number)) for number in range(at)))
            changed = data[:place] + one(v(at // 1000), v(wrong))
            changed += data[place + len(one(v(at // 1000), v(at))) :]
            assert python(changed, 0, 20_000) == (OUT_OF_ORDER, 0, 19)


def test_it_reads_nothing_outside_of_its_buffer(tmp_path: Path) -> None:
    """The C source under sanitizers, each input in a buffer of exactly its size."""
    compiler = shutil.which("cc") or shutil.which("gcc") or shutil.which("clang")
    if compiler is None:
        pytest.skip("no C compiler")
    sources = Path(walk.__file__).parent
    program = tmp_path / "walk"
    flags = [
        "-g",
        "-O1",
        "-Wall",
        "-Wextra",
        "-Werror",
        "-fsanitize=address,undefined",
        "-fno-sanitize-recover",
    ]
    made = subprocess.run(
        [
            compiler,
            *flags,
            f"-I{sources}",
            Path(__file__).with_name("walk_under_sanitizers.c"),
            "-o",
            program,
        ],
        capture_output=True,
        text=True,
    )
    if "cannot find" in made.stderr:
        pytest.skip("the compiler has no sanitizers")
    assert made.returncode == 0, made.stderr
    rng = random.Random(7)
    cases = []
    for _ in range(20_000):
        data, count = small_payload(rng)
        data = mutated(data, rng)
        at = rng.choice((0, 0, min(1, len(data)), len(data)))
        cases.append((bytes(data), at, count + rng.choice((0, 0, 0, 1)), rng.random() < 0.1))
    cases += [(FAULTS[name], 0, count, False) for name in FAULTS for count in (1, 2, 2**31 - 1)]
    fed = b"".join(
        struct.pack("=iiii", at, count, frame, len(data)) + data for data, at, count, frame in cases
    )
    done = subprocess.run([program], input=fed, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()[-2000:]
    lines = done.stdout.decode().splitlines()
    assert len(lines) == len(cases)
    for (data, at, count, frame), line in zip(cases, lines, strict=True):
        wanted = python(data, at, count, frame)
        if frame and wanted is not None:
            assert line != "-"
        else:
            assert line == ("-" if wanted is None else "{} {} {}".format(*wanted)), (data, at, count, frame)


@SETTINGS
@given(st.binary(max_size=60), st.integers(1, 3), st.booleans())
def test_any_bytes_are_the_same_to_both_forms(data: bytes, count: int, frame: bool) -> None:
    assert walk.walk(data, 0, count, frame) == python(data, 0, count, frame)


def _read_all(payload: bytes, count: int, walked: Walked) -> None:
    flags, lowest, highest = walked
    if flags & OUT_OF_ORDER:
        return
    data = build_batch([], last_offset=count - 1) + payload
    data[8:12] = (len(data) - 12).to_bytes(4, "big")
    data[57:61] = count.to_bytes(4, "big")
    data[27:35] = bytes(8)
    read = list(iter_records(RecordBatch(data)))
    assert len(read) == count
    assert (min(each.timestamp for each in read), max(each.timestamp for each in read)) == (lowest, highest)
    assert any(each.key is None for each in read) == bool(flags & NULL_KEY)
