"""The room's front door: finding messages, headers' versions, laziness, sources."""

from __future__ import annotations

import linecache
import subprocess
import sys
import traceback

import pytest

from kgw_core import wire
from kgw_core.errors import InvalidRequest
from kgw_core.wire import base
from kgw_core.wire.plan import has_version


def run(program):
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    return done.stdout.split()


def test_importing_wire_imports_no_message_and_no_emitter():
    loaded = run("import sys, kgw_core.wire; print(*[m for m in sys.modules if m.startswith('kgw_core.')])")
    assert "kgw_core.wire" in loaded
    assert not [m for m in loaded if m.startswith(("kgw_core.wire.messages", "kgw_core.wire.emit"))]


def test_using_a_message_imports_that_message_alone():
    loaded = run(
        "import sys; from kgw_core import wire; wire.decoder(wire.message('ProduceRequest'), 9);"
        "print(*[m for m in sys.modules if m.startswith('kgw_core.wire.')])"
    )
    found = [m for m in loaded if m.startswith("kgw_core.wire.messages.")]
    assert found == ["kgw_core.wire.messages.produce"]


def test_every_message_is_found_by_its_name():
    assert len(wire.index.MESSAGES) == 205
    for name in wire.index.MESSAGES:
        cls = wire.message(name)
        assert (cls.NAME, cls.__name__) == (name, name)
        assert len(cls.__slots__) == len(cls.SCHEMA)
    with pytest.raises(KeyError):
        wire.message("NoSuchRequest")


def test_the_index_says_what_the_classes_say():
    for key, api in wire.index.APIS.items():
        for name in (api.request, api.response):
            cls = wire.message(name)
            assert (key, (api.min_version, api.max_version)) == (cls.API_KEY, cls.VERSIONS)
            assert api.flexible_from == cls.FLEXIBLE_FROM
    assert wire.index.APIS[22].latest_stable == wire.message("InitProducerIdRequest").LATEST_STABLE == 5
    assert wire.index.APIS[74].name == "ListConfigResources"


def test_the_oldest_and_the_newest_versions_are_both_there():
    assert wire.message("ProduceRequest").VERSIONS == (0, 13)
    assert wire.message("FetchRequest").VERSIONS == (0, 18)
    assert wire.message("RequestHeader").VERSIONS == (0, 2)
    assert wire.message("ControlledShutdownRequest").VERSIONS == (0, 3)


def test_an_unknown_version_is_a_value_error():
    cls = wire.message("ProduceRequest")
    for version in (-1, 14):
        for call in (wire.decoder, wire.encoder):
            with pytest.raises(ValueError, match=f"ProduceRequest has versions 0 to 13, not {version}"):
                call(cls, version)


@pytest.mark.parametrize(
    ("api_key", "version", "request_header", "response_header"),
    [
        (0, 0, 1, 0),
        (0, 8, 1, 0),
        (0, 9, 2, 1),
        (18, 0, 1, 0),
        (18, 3, 2, 0),
        (18, 99, 2, 0),
        (7, 0, 0, 0),
        (7, 1, 1, 0),
        (7, 3, 2, 1),
        (17, 1, 1, 0),
        (68, 0, 2, 1),
    ],
)
def test_the_versions_of_headers(api_key, version, request_header, response_header):
    assert wire.request_header_version(api_key, version) == request_header
    assert wire.response_header_version(api_key, version) == response_header


def test_the_header_of_an_unknown_api_is_an_invalid_request():
    for call in (wire.request_header_version, wire.response_header_version):
        with pytest.raises(InvalidRequest, match="no API with key 9999"):
            call(9999, 0)


def test_the_source_of_any_codec_can_be_printed():
    cls = wire.message("JoinGroupRequest")
    assert "def decode_JoinGroupRequest_v9(buf: memoryview, pos: int)" in wire.source(cls, 9, "decode")
    assert "def encode_JoinGroupRequest_v0(m: JoinGroupRequest" in wire.source(cls, 0, "encode")
    assert "def decode_ProduceRequest_v9" in wire.source(wire.message("ProduceRequest"), 9, "decode")
    with pytest.raises(ValueError, match="not 'sideways'"):
        wire.source(cls, 9, "sideways")
    with pytest.raises(ValueError, match="versions 0 to 9"):
        wire.source(cls, 10, "decode")


def test_a_traceback_shows_the_line_of_a_compiled_codec():
    cls = wire.message("JoinGroupRequest")
    with pytest.raises(wire.MalformedMessage) as caught:
        wire.decode(cls, 9, b"")
    frame = traceback.extract_tb(caught.value.__traceback__)[-1]
    assert frame.filename == "<kgw decode JoinGroupRequest v9>"
    assert "raise malformed" in linecache.getline(frame.filename, frame.lineno)


def test_a_codec_is_kept():
    cls = wire.message("JoinGroupRequest")
    assert wire.decoder(cls, 9) is wire.decoder(cls, 9)
    assert wire.encoder(cls, 9) is wire.encoder(cls, 9)


def test_messages_compare_by_value_and_do_not_share_their_lists():
    cls = wire.message("ProduceRequest")
    one, two = cls(acks=1), cls(acks=1)
    assert one == two
    one.topic_data.append("x")
    assert one != two
    assert one != 1
    assert two.topic_data == []
    with pytest.raises(TypeError, match="unhashable"):
        hash(one)


def test_the_repr_names_each_field_and_cuts_long_bytes():
    cls = wire.message("SaslAuthenticateRequest")
    assert repr(cls(auth_bytes=b"abc")) == "SaslAuthenticateRequest(auth_bytes=b'abc')"
    assert repr(cls(auth_bytes=memoryview(b"abc"))) == "SaslAuthenticateRequest(auth_bytes=b'abc')"
    assert repr(cls(auth_bytes=bytes(100))) == "SaslAuthenticateRequest(auth_bytes=<100 bytes>)"
    assert repr(base.DEFAULT) == "DEFAULT"


def test_kafkas_notation_of_versions_is_read():
    assert [v for v in range(5) if has_version("3+", v)] == [3, 4]
    assert [v for v in range(5) if has_version("1-2", v)] == [1, 2]
    assert [v for v in range(5) if has_version("0", v)] == [0]
    assert not has_version("", 0)
