"""Requests of very many entries, and batches of very many records: little to send, much to do."""

from __future__ import annotations

import copy
import struct
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

from kgw_core import wire
from kgw_core.config import Limits
from kgw_core.errors import error_name
from kgw_core.records import HEADER_SIZE, Codec, compress
from kgw_core.records.batch import LOG_OVERHEAD
from kgw_core.records.varint import encode_varint
from kgw_core.wire import index
from kgw_core.wire.base import Message
from tests.fuzz import seeds
from tests.fuzz.attack import ANSWERED, CLOSED, Attack, Finding, framed
from tests.fuzz.batches import TOPICS, batch, code_of, produce, with_fields
from tests.fuzz.frames import rounds
from tests.fuzz.message_sets import message

MOST = Limits().most_entries
LARGEST = 4 << 20
"""Bytes of a request of many entries."""
TINY_RECORDS = 2_000_000
TELLING = {1, 3, 9}
"""Fetch, Metadata and OffsetFetch say at the top of their answers that it is about an error."""
REFUSED = {"CORRUPT_MESSAGE", "INVALID_RECORD", "MESSAGE_TOO_LARGE"}


def _lists(message: Message) -> Iterator[tuple[Message, str]]:
    """The places of arrays in a message that are not empty."""
    for slot in seeds._slots(message):
        value: Any = getattr(message, slot)
        if isinstance(value, Message):
            yield from _lists(value)
        elif isinstance(value, list) and value:
            yield message, slot
            if isinstance(value[0], Message):
                yield from _lists(value[0])


def _repeated(attack: Attack, key: int, version: int, count: int) -> bytes | None:
    """A valid request, one of its arrays made long; None where it has none."""
    rng = attack.rng
    cls = wire.message(index.APIS[key].request)
    message = wire.decode(cls, version, rng.choice(seeds.vectors()[(cls.NAME, version)]))
    places = list(_lists(message))
    if not places:
        return None
    owner, slot = rng.choice(places)
    seeds._make_real(message, rng)
    first: Any = getattr(owner, slot)[0]
    setattr(owner, slot, [])
    spare = LARGEST - len(wire.encode(message, version))
    setattr(owner, slot, [first] * 10)
    each = max((len(wire.encode(message, version)) + spare - LARGEST) // 10, 1)
    count = min(count, spare // each)
    entries = [copy.copy(first) if isinstance(first, Message) else first for _ in range(count)]
    if rng.random() < 0.5:
        for at, entry in enumerate(entries):
            for name in seeds._NAMES:
                if isinstance(getattr(entry, name, None), str):
                    setattr(entry, name, f"many-{at}-{rng.randrange(10)}")
    setattr(owner, slot, entries)
    return framed(seeds.header(key, version) + wire.encode(message, version))


def entries(attack: Attack) -> None:
    """Thousands of topics, partitions, groups, configs: answered, or closed past the limit."""
    rng = attack.rng
    served = [each for each in seeds.served() if index.APIS[each[0]].name not in ("CreateTopics", "Metadata")]
    for _ in rounds(attack, 25):
        key, version = rng.choice(served)
        frame = _repeated(attack, key, version, rng.choice((500, 2_000, 5_000, MOST + 1)))
        if frame is None:
            continue
        with attack.link() as link:
            link.send(frame)
            answer = link.answer(20)
            attack.count(ANSWERED if isinstance(answer, bytes) else answer)


def entries_from_many(attack: Attack) -> None:
    """The same from 12 connections at the same time, and again and again from each."""
    rng = attack.rng
    for _ in rounds(attack, 1):
        frames = []
        while len(frames) < 12:
            name = rng.choice(("Metadata", "DescribeConfigs", "OffsetFetch", "ListOffsets", "Fetch"))
            key = next(key for key, api in index.APIS.items() if api.name == name)
            version = rng.choice([version for served, version in seeds.served() if served == key])
            frame = _repeated(attack, key, version, 4_000)
            if frame is not None and not (name == "Metadata" and version >= 4):  # those create topics
                frames.append(frame)
        links = [attack.link() for _ in frames]
        try:
            for link, frame in zip(links, frames, strict=True):
                link.send(frame * 2)
            for link in links:
                answer = link.answer(30)
                attack.count(ANSWERED if isinstance(answer, bytes) else answer)
        finally:
            for link in links:
                link.socket.close()


def entries_over_the_limit(attack: Attack) -> None:
    """One more than allowed: refused, or closed where the answer has no place for that."""
    for _ in rounds(attack, 1):
        for key in (0, 1, 2, 3, 8, 9, 32):
            version = max(version for served, version in seeds.served() if served == key)
            if key == 9:
                version = 5  # later ones ask for groups
            cls = wire.message(index.APIS[key].request)
            request = cls()
            slot = {0: "topic_data", 32: "resources"}.get(key, "topics")
            setattr(request, slot, [_element(key)] * (MOST + 1))
            with attack.link() as link:
                link.send(framed(seeds.header(key, version) + wire.encode(request, version)))
                answer = link.answer(20)
                attack.count(ANSWERED if isinstance(answer, bytes) else answer)
                if answer != CLOSED and key not in TELLING:
                    raise Finding(f"{cls.NAME} of {MOST + 1} entries: {answer!r}")


def _element(key: int) -> Message:
    names = {
        0: "TopicProduceData", 1: "FetchTopic", 2: "ListOffsetsTopic", 3: "MetadataRequestTopic",
        8: "OffsetCommitRequestTopic", 9: "OffsetFetchRequestTopic", 32: "DescribeConfigsResource",
    }  # fmt: skip
    module = __import__(wire.message(index.APIS[key].request).__module__, fromlist=["_"])
    found: Message = getattr(module, names[key])()
    return found


def _tiny(offset: int) -> bytes:
    body = b"\0\0" + encode_varint(offset) + b"\0\1\0"
    return bytes((2 * len(body),)) + body


@cache
def tiny_records(count: int, codec: Codec) -> bytearray:
    """A batch of ``count`` records of seven to ten bytes."""
    import random

    payload = compress(codec, b"".join(map(_tiny, range(count))))
    head = batch(random.Random(1))[:HEADER_SIZE]
    size = HEADER_SIZE - LOG_OVERHEAD + len(payload)
    return with_fields(
        head + payload, length=size, attributes=int(codec), count=count, last_offset_delta=count - 1
    )


def records(attack: Attack) -> None:
    """Batches of two million records in some kilobytes: refused."""
    for _ in rounds(attack, 1):
        wrapped = compress(Codec.GZIP, message(None, magic=1) * TINY_RECORDS)
        inner = message(wrapped, magic=1, attributes=int(Codec.GZIP))
        made = {codec: tiny_records(TINY_RECORDS, codec) for codec in (Codec.GZIP, Codec.ZSTD)}
        with attack.link() as link:
            for codec, data in made.items():
                for topic in TOPICS:
                    link.send(produce(topic, data, 9))
                    _refused(attack, code_of(link.answer(30), 9), f"{codec.label} on {topic}")
            link.send(produce("fuzz", inner, 2))
            _refused(attack, code_of(link.answer(30), 2), "a message set")


def records_within_the_limit(attack: Attack) -> None:
    """Half a million records in a batch, from eight connections: looked into beside the others."""
    for _ in rounds(attack, 1):
        data = produce("compacted", tiny_records(500_000, Codec.ZSTD), 9)
        links = [attack.link() for _ in range(8)]
        try:
            for link in links:
                link.send(data)
            for link in links:
                code = code_of(link.answer(60), 9)
                attack.count(error_name(code) if code else "NONE (a good one)")
        finally:
            for link in links:
                link.socket.close()


def large_frames_held_back(attack: Attack) -> None:
    """Begun frames of 100 MB fill the budget and stand still; a Produce of 500 KB gets through."""
    for _ in rounds(attack, 1):
        links = [attack.link() for _ in range(30)]
        try:
            for link in links:
                link.send(struct.pack(">i", 100 << 20) + bytes(1_000))
            began = time.monotonic()
            with attack.link() as good:
                good.send(produce("fuzz", _large(attack), 9))
                if code_of(good.answer(15), 9):
                    raise Finding("a large Produce beside begun frames was refused")
            attack.count(f"a large Produce within {'3' if time.monotonic() - began < 3 else '15'} s")
            for link in links:
                attack.count(CLOSED if link.ended(15) else "open")
        finally:
            for link in links:
                link.socket.close()


def _large(attack: Attack) -> bytearray:
    from kgw_core.records import build_batch

    return build_batch([(None, attack.rng.randbytes(500_000), int(time.time() * 1000))])


def _refused(attack: Attack, code: int, what: str) -> None:
    name = error_name(code)
    if name not in REFUSED:
        raise Finding(f"two million records, {what}: got {name}")
    attack.count(name)
