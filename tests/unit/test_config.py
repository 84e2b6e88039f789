"""The core's settings, and their page in the reference."""

from __future__ import annotations

import ast
import inspect
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import msgspec
import pytest

from kgw_core import config
from kgw_core.addresses import split_address
from kgw_core.config import Config, Limits, Listener, NewTopic, dev, load, new_topic
from kgw_core.spi.settings import ConfigError, MiB, expected, format_duration, format_size
from kgw_core.spi.settings._words import bare_type, kind_of

REFERENCE = Path(__file__).parents[2] / "docs" / "reference" / "configuration.md"


def from_toml(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> Config:
    path = tmp_path / "kgw.toml"
    path.write_text(text, encoding="utf-8")
    return load(path, env or {})


def problems(tmp_path: Path, text: str, env: dict[str, str] | None = None) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        from_toml(tmp_path, text, env)
    return [problem.replace(str(tmp_path / "kgw.toml"), "kgw.toml") for problem in caught.value.problems]


def test_without_a_file_or_variables_all_settings_have_their_defaults() -> None:
    assert load(None, {}) == Config()


def test_the_defaults_are_kafkas_where_kafka_has_the_setting() -> None:
    limits = Limits()
    assert limits.max_request_size == 104857600
    assert limits.fetch_max_bytes == 57671680
    assert limits.idle_timeout == 600.0
    assert Config().topics.num_partitions == 1


def test_a_file_sets_what_it_names_and_leaves_the_rest(tmp_path: Path) -> None:
    read = from_toml(
        tmp_path,
        """
        node_id = 3
        [[listeners]]
        host = "0.0.0.0"
        advertise = "broker.example:19092"
        [[listeners]]
        name = "INSIDE"
        port = 0
        [limits]
        max_request_size = "8 MiB"
        idle_timeout = "5m"
        [topics]
        defaults.retention.ms = 1000
        [[topics.create]]
        name = "orders"
        partitions = 3
        configs = { "cleanup.policy" = "compact" }
        [storage]
        use = "sqlite"
        path = "kgw.db"
        """,
    )
    assert read.node_id == 3
    assert read.listeners == (
        Listener(host="0.0.0.0", advertise="broker.example:19092"),
        Listener(name="INSIDE", port=0),
    )
    assert read.limits == Limits(max_request_size=8 * MiB, idle_timeout=300.0)
    assert read.topics.defaults == {"retention.ms": "1000"}
    orders = NewTopic(name="orders", partitions=3, configs={"cleanup.policy": "compact"})
    assert read.topics.create == (orders,)
    assert (read.storage.use, read.storage.settings) == ("sqlite", {"path": "kgw.db"})
    assert read.ledger.use is None


def test_the_environment_wins_over_the_file(tmp_path: Path) -> None:
    env = {
        "KGW_NODE_ID": "9",
        "KGW_LIMITS__MAX_CONNECTIONS": "5",
        "KGW_LISTENERS__0__ADVERTISE": "h:1",
        "KGW_TOPICS__AUTO_CREATE": "true",
        "KGW_TOPICS__DEFAULTS__RETENTION_MS": "7",
        "KGW_STORAGE__PATH": "other.db",
    }
    text = 'node_id = 3\n[limits]\nmax_connections = 4\n[storage]\nuse = "sqlite"\npath = "kgw.db"'
    read = from_toml(tmp_path, text, env)
    assert (read.node_id, read.limits.max_connections, read.topics.auto_create) == (9, 5, True)
    assert read.listeners == (Listener(advertise="h:1"),)
    assert read.topics.defaults == {"retention.ms": "7"}
    assert (read.storage.use, read.storage.settings) == ("sqlite", {"path": "other.db"})


def test_variables_that_others_make_are_left_alone_and_misspelt_ones_are_not() -> None:
    others = {"KGW_PORT": "tcp://10.0.0.1:9092", "KGW_SERVICE_HOST": "10.0.0.1", "KGW_TRACE_PLUGINS": "1"}
    others["KGW_LOG_DIR"] = "/var/log"  # there is nothing of that kind in [log]
    assert load(None, others) == Config()
    with pytest.raises(ConfigError, match=r"^environment: KGW_STORAGE_PATH: .* mean KGW_STORAGE__PATH"):
        load(None, {"KGW_STORAGE_PATH": "/data/kgw.db"})
    with pytest.raises(
        ConfigError, match=r"^environment: KGW_LIMITS_MAX_TOPICS: .* mean KGW_LIMITS__MAX_TOPICS"
    ):
        load(None, {"KGW_LIMITS_MAX_TOPICS": "1"})
    with pytest.raises(ConfigError, match=r'KGW_LIMTS__X: unknown key "limts"; did you mean "limits"\?$'):
        load(None, {"KGW_LIMTS__X": "1"})


def test_all_problems_are_told_at_once_with_file_table_and_key(tmp_path: Path) -> None:
    text = '[[listeners]]\nport = 70000\n[limits]\nmax_requst_size = 1\n[log]\nlevel = "loud"'
    assert problems(tmp_path, text, {"KGW_NODE_ID": "x"}) == [
        "kgw.toml: [[listeners]] #1 port: expected a whole number, at least 0, at most 65535, got 70000",
        'kgw.toml: [limits] max_requst_size: unknown key; did you mean "max_request_size"?',
        'kgw.toml: [log] level: expected "debug" or "info" or "warning" or "error", got "loud"',
        'environment: KGW_NODE_ID: expected a whole number, at least 0, at most 2147483647, got "x"',
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (
            '[limits]\nmax_in_flight_bytes = "1MiB"',
            "[limits] max_in_flight_bytes: max_in_flight_bytes (1 MiB) must be at least "
            "max_request_size (100 MiB)",
        ),
        (
            '[limits]\nmax_request_size = "200MiB"',
            "[limits] max_request_size: max_in_flight_bytes (128 MiB) must be at least "
            "max_request_size (200 MiB)",
        ),
        (
            '[limits]\nmax_request_size = "2GiB"\nmax_in_flight_bytes = "2GiB"\n'
            'max_total_in_flight_bytes = "2GiB"',
            "[limits] max_request_size: max_total_queued_bytes (1 GiB) must be at least "
            "max_request_size (2 GiB)",
        ),
        (
            '[limits]\nfetch_max_bytes = "2GiB"',
            "[limits] fetch_max_bytes: max_total_queued_bytes (1 GiB) must be at least "
            "fetch_max_bytes (2 GiB)",
        ),
        (
            "[limits]\nmax_request_entries = 20_000",
            "[limits] max_request_entries: max_request_entries (20000) must be at least max_topics and "
            "max_partitions together (110000)",
        ),
        (
            "[limits]\nmax_topics = 1_000_000",
            "[limits] max_topics: max_request_size (100 MiB) must be at least 50 bytes for each of "
            "max_partitions (100000) and 300 for each of max_topics (1000000)",
        ),
        (
            '[limits]\nmax_request_size = "1MiB"\nmax_topics = 1_000\nmax_partitions = 20_000',
            "[limits] max_request_size: max_request_size (1 MiB) must be at least 50 bytes for each of "
            "max_partitions (20000) and 300 for each of max_topics (1000)",
        ),
        (
            '[groups]\noffset_metadata_max_size = "32KiB"',
            '[groups] offset_metadata_max_size: expected a size in bytes, such as 1048576 or "1MiB", at '
            'least 0 B, at most 32767 B, got "32KiB"',
        ),
        (
            '[groups]\nmax_session_timeout = "1s"',
            "[groups] max_session_timeout: max_session_timeout (1s) must be at least "
            "min_session_timeout (6s)",
        ),
        (
            '[limits]\nmax_inflated_batch = "512KiB"',
            '[limits] max_inflated_batch: expected a size in bytes, such as 1048576 or "1MiB", at least '
            '1 MiB, got "512KiB"',
        ),
        (
            '[[listeners]]\nadvertise = "a:b"',
            '[[listeners]] #1 advertise: "a:b" is not an address: expected "host:port" or "host"',
        ),
        (
            '[[listeners]]\nadvertise = "0.0.0.0:9092"',
            '[[listeners]] #1 advertise: "0.0.0.0:9092" is no address that clients can dial',
        ),
        ('[[listeners]]\nhost = "unix:"', '[[listeners]] #1 host: "unix:" needs a path after it'),
        ("[listeners]\nport = 1", "listeners: expected entries that begin with [[listeners]], got a table"),
        (
            '[topics]\ncreate = "orders"',
            '[topics] create: expected entries that begin with [[topics.create]], got "orders"',
        ),
        (
            '[[listeners]]\nname = "X"\nhost = "localhost:9092"',
            '[[listeners]] #1 "X" host: "localhost:9092" has a port, which belongs into port = 9092; '
            'the host is "localhost"',
        ),
        ('[[listeners]]\nhost = "[::1]"', '[[listeners]] #1 host: "[::1]" has brackets; expected "::1"'),
        (
            '[[listeners]]\nhost = "a b"',
            '[[listeners]] #1 host: "a b" is not an address: expected "host:port" or "host"',
        ),
    ],
)
def test_settings_that_do_not_go_together_are_refused(tmp_path: Path, text: str, told: str) -> None:
    assert problems(tmp_path, text) == [f"kgw.toml: {told}"]


@pytest.mark.parametrize("host", ["localhost", "::", "::1", "0.0.0.0", "fe80::1%eth0", "unix:/tmp/a b.sock"])
def test_hosts_that_can_be_bound(host: str) -> None:
    assert Listener(host=host).host == host


def test_a_file_that_is_not_there_or_not_toml_is_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"no\.toml: cannot be read: No such file or directory$"):
        load(tmp_path / "no.toml", {})
    assert problems(tmp_path, "a = ")[0].startswith("kgw.toml: is not TOML: Invalid value (at ")
    (tmp_path / "latin.toml").write_bytes(b'a = "\xe9"')
    with pytest.raises(ConfigError, match=r"latin\.toml: is not UTF-8 text, as TOML has to be: 'utf-8'"):
        load(tmp_path / "latin.toml", {})
    (tmp_path / "bom.toml").write_bytes(b"\xef\xbb\xbfnode_id = 3")
    assert load(tmp_path / "bom.toml", {}).node_id == 3, "as some editors write it"


def test_dev_makes_a_broker_that_says_yes() -> None:
    read = dev(env={})
    assert read.listeners == (Listener(),)
    assert (read.topics.auto_create, read.topics.replication_factor) == (True, "accept")
    assert (read.storage.use, read.storage.settings) == ("memory", {})


def test_options_of_dev_win_over_the_environment_which_wins_over_its_defaults() -> None:
    env = {"KGW_LISTENERS__0__PORT": "1", "KGW_LISTENERS__0__HOST": "::", "KGW_TOPICS__AUTO_CREATE": "false"}
    read = dev(port=0, topics=["orders:3", "users"], env=env)
    assert read.listeners == (Listener(host="::", port=0),)
    assert read.topics.auto_create is False
    assert read.topics.create == (NewTopic(name="orders", partitions=3), NewTopic(name="users"))


def test_a_topic_of_the_command_line_has_a_number_of_partitions_after_a_colon() -> None:
    assert new_topic("orders") == {"name": "orders"}
    assert new_topic("orders:3") == {"name": "orders", "partitions": "3"}
    with pytest.raises(ConfigError, match=r'^--topic orders:x: expected a whole number.* got "x"$'):
        dev(topics=["orders:x"], env={})


def test_what_is_wrong_with_options_is_told_by_their_names() -> None:
    with pytest.raises(ConfigError) as caught:
        dev(host="", port=70000, advertise="a:b", env={"KGW_LISTENERS__0__PORT": "x", "KGW_NODE_ID": "x"})
    assert [problem.partition(": ")[0] for problem in caught.value.problems] == [
        "--port 70000",
        "--host ",
        "--advertise a:b",
        "environment",
    ]


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("localhost", ("localhost", None)),
        ("broker.example:9092", ("broker.example", 9092)),
        ("[::1]:9092", ("::1", 9092)),
        ("[::1]", ("::1", None)),
        ("fe80::1", ("fe80::1", None)),
    ],
)
def test_an_address_is_a_host_and_maybe_a_port(text: str, address: tuple[str, int | None]) -> None:
    assert split_address(text) == address
    assert Listener(advertise=text).advertised == address


@pytest.mark.parametrize("text", ["", ":9092", "a:", "a:0", "a:65536", "a:x", "a b:1", "http://a:1", "[]:1"])
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is not an address"):
        split_address(text)


def test_settings_need_neither_an_event_loop_nor_pluggy() -> None:
    code = "import sys, kgw_core.config; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert not {"anyio", "asyncio", "pluggy", "importlib.metadata"} & set(loaded.split())


# -- docs/reference/configuration.md


def tables(cls: type[msgspec.Struct], name: str = "") -> Iterator[tuple[str, type[msgspec.Struct]]]:
    """Each table of the file as its heading shows it, and its Struct."""
    yield f"[{name}]" if name else "", cls
    for field in msgspec.structs.fields(cls):
        inner, args = bare_type(field.type), get_args(field.type)
        key = f"{name}.{field.encode_name}" if name else field.encode_name
        if inspect.isclass(inner) and issubclass(inner, msgspec.Struct):
            yield from tables(inner, key)
        elif get_origin(inner) is tuple and issubclass(args[0], msgspec.Struct):
            yield f"[[{key}]]", args[0]


def meanings(cls: type[msgspec.Struct]) -> dict[str, str]:
    """Attribute docstrings."""
    body = ast.parse(inspect.getsource(cls)).body[0]
    assert isinstance(body, ast.ClassDef)
    found = {}
    for field, text in zip(body.body, body.body[1:], strict=False):
        if isinstance(field, ast.AnnAssign) and isinstance(text, ast.Expr):
            assert isinstance(field.target, ast.Name)
            assert isinstance(text.value, ast.Constant)
            found[field.target.id] = " ".join(str(text.value.value).split())
    return found


def row(field: msgspec.structs.FieldInfo, meaning: str) -> str:
    """A line of the reference: name, type, unit, default, meaning."""
    bare, kind = bare_type(field.type), kind_of(field.type)
    names = {bool: "boolean", int: "integer", str: "text"}
    type_name = {"size": "size", "duration": "duration", "configs": "table"}.get(kind) or names.get(bare)
    if get_origin(bare) is Literal:
        type_name = expected(bare)
    unit = {"size": "bytes", "duration": "seconds"}.get(kind, "")
    if field.required:
        default = "required"
    elif field.default is None:
        default = "not set"
    elif kind == "configs":
        default = "empty"
    elif kind in ("size", "duration"):
        default = (format_size if kind == "size" else format_duration)(field.default).replace(" ", "")
        default = f'`"{default}"`'
    else:
        default = f"`{msgspec.json.encode(field.default).decode()}`"
    assert type_name, field
    return f"| `{field.encode_name}` | {type_name} | {unit} | {default} | {meaning} |"


def is_table(field: msgspec.structs.FieldInfo) -> bool:
    bare = bare_type(field.type)
    return get_origin(bare) is tuple or (inspect.isclass(bare) and issubclass(bare, msgspec.Struct))


def reference() -> dict[str, list[str]]:
    """The rows that the settings' classes call for, by table."""
    rows: dict[str, list[str]] = {}
    for heading, cls in tables(Config):
        told = meanings(cls)
        fields = [field for field in msgspec.structs.fields(cls) if not is_table(field)]
        rows[heading] = [row(field, told[field.name]) for field in fields if kind_of(field.type) != "rest"]
    return rows


def test_the_reference_shows_every_setting_and_nothing_else() -> None:
    shown: dict[str, list[str]] = {}
    heading = None
    for line in REFERENCE.read_text(encoding="utf-8").splitlines():
        if match := re.fullmatch(r"## (?:`(\[.*\])`|The top of the file)", line):
            heading = match[1] or ""
            shown[heading] = []
        elif line.startswith("| `") and heading is not None:
            shown[heading].append(line)
    assert shown == reference(), f"these rows belong into {REFERENCE.name}:\n\n" + "\n\n".join(
        "\n".join([heading or "The top of the file", *rows]) for heading, rows in reference().items()
    )


def test_every_setting_has_a_docstring_and_every_table_a_place_in_the_file() -> None:
    structs: set[Any] = {cls for _, cls in tables(Config)}
    for name, cls in vars(config).items():
        if inspect.isclass(cls) and issubclass(cls, msgspec.Struct) and cls.__module__ == config.__name__:
            assert cls in structs, name
            assert set(meanings(cls)) == {field.name for field in msgspec.structs.fields(cls)}, name


@pytest.mark.parametrize("text", ["a:b:c", "::1::2", "[a:b]:9092"])
def test_what_is_neither_a_name_nor_ipv6_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match="is not an address"):
        dev(advertise=text, env={})
