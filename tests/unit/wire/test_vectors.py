"""Every message in every version agrees, byte for byte, with what Kafka's own Java client writes.

The two releases share no row (4.4.0 gives the versions that it has, 3.9.1 the rest), and no row is read
differently by the union of both: where they disagree (docs/reference/wire-disagreements.txt) either only
names and flags differ, or, for ReadShareGroupStateSummaryResponse v0, the rows are of 4.4.0, which wins.
"""

from __future__ import annotations

from kgw_core import wire
from kgw_core.wire.json import from_json, to_json
from kgw_core.wire.plan import has_version, struct_class


def test_there_are_two_rows_for_every_message_and_version(vectors):
    rows = [(v.message, v.version) for v in vectors]
    assert len(rows) == 1522
    every = {
        (name, version)
        for name in wire.index.MESSAGES
        for version in range(wire.message(name).VERSIONS[0], wire.message(name).VERSIONS[1] + 1)
    }
    assert set(rows) == every
    assert len({(v.message, v.version, v.release) for v in vectors}) == len(every)


def test_bytes_decode_to_the_json_they_came_from(vectors):
    for v in vectors:
        cls = wire.message(v.message)
        decoded = wire.decode(cls, v.version, v.data)
        assert to_json(decoded, v.version) == without_tagged_defaults(cls, v.json, v.version), v[:3]


def test_json_encodes_to_exactly_the_bytes(vectors):
    for v in vectors:
        message = from_json(wire.message(v.message), v.json, v.version)
        assert wire.encode(message, v.version) == v.data, v[:3]


def test_decoding_and_encoding_again_gives_the_same_bytes(vectors):
    for v in vectors:
        decoded = wire.decode(wire.message(v.message), v.version, v.data)
        assert wire.encode(decoded, v.version) == v.data, v[:3]
        assert b"".join(wire.encode_parts(decoded, v.version)) == v.data, v[:3]


def test_a_default_message_of_every_version_comes_back_equal(vectors):
    for name, version in sorted({(v.message, v.version) for v in vectors}):
        message = wire.message(name)()
        assert wire.decode(wire.message(name), version, wire.encode(message, version)) == message


def without_tagged_defaults(cls, value, version):
    """`value` without the tagged fields that spell out their default: Kafka does not write these, so the
    bytes cannot tell. Some rows of the vectors have them.
    """
    out = {}
    for attr, field in zip(cls.__slots__, cls.SCHEMA, strict=True):
        if field.name not in value:
            continue
        found = value[field.name]
        struct = struct_class(cls, field.type)
        if struct is not None and found is not None:
            if isinstance(found, list):
                found = [without_tagged_defaults(struct, item, version) for item in found]
            else:
                found = without_tagged_defaults(struct, found, version)
        default = getattr(cls(), attr)
        if struct is not None and field.default is ...:
            default = {f.name: f.default for f in struct.SCHEMA}
        if not (has_version(field.tagged, version) and found == default):
            out[field.name] = found
    assert len(out) + sum(f.name in value and f.name not in out for f in cls.SCHEMA) == len(value)
    return out
