"""Types of settings and read_table."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec
import pytest

from kgw_core.spi.settings import (
    ConfigError,
    Duration,
    FromEnv,
    KafkaConfigs,
    KiB,
    MiB,
    Place,
    Report,
    Rest,
    Secret,
    Size,
    WrongSettings,
    format_duration,
    format_size,
    nearest,
    overlay,
    parse_duration,
    parse_size,
    read_into,
    read_table,
)


class Tls(msgspec.Struct, frozen=True, kw_only=True):
    cert: Path
    versions: list[Literal["1.2", "1.3"]] = []


class Server(msgspec.Struct, frozen=True, kw_only=True):
    host: str
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 0
    tls: Tls | None = None


class Example(msgspec.Struct, frozen=True, kw_only=True):
    count: int = 1
    ratio: float = 0.5
    on: bool = False
    mode: Literal["fast", "safe"] = "safe"
    size: Annotated[Size, msgspec.Meta(ge=KiB)] = MiB
    wait: Annotated[Duration, msgspec.Meta(gt=0)] = 1.0
    password: Secret | None = None
    servers: tuple[Server, ...] = ()
    weights: Annotated[list[int], msgspec.Meta(max_length=2)] = []
    configs: KafkaConfigs = {}
    labels: dict[str, int] = {}
    server: Server | None = None
    any: Any = None

    def __post_init__(self) -> None:
        if self.count == 13:
            raise ValueError("count must not be 13")


def problems(table: dict[str, Any], cls: type[Any] = Example, **options: Any) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        read_table(table, cls, where="kgw.toml", **options)
    assert str(caught.value) == "\n".join(caught.value.problems)
    return list(caught.value.problems)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("1048576", MiB),
        ("1MiB", MiB),
        ("64 KiB", 64 * KiB),
        ("1GB", 10**9),
        ("512b", 512),
        ("1.5 kib", 1536),
        (" 2TiB ", 2 << 40),
    ],
)
def test_a_size_is_a_number_with_a_unit(text: str, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "1M", "1 MiB MiB", "-1", "0.5B", "1e3", "٣", "1.MiB"])
def test_what_is_not_a_whole_number_of_bytes_in_a_plain_unit_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("10m", 600),
        ("10min", 600),
        ("500ms", 0.5),
        ("1h", 3600),
        ("1h30m", 5400),
        ("7 d", 604800),
        ("2.5", 2.5),
    ],
)
def test_a_duration_is_a_number_of_seconds_or_numbers_with_units(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "m", "1y", "-1s", "1h 30", "1e3", "1s!", "inf"])
def test_what_has_no_known_unit_is_no_duration(text: str) -> None:
    with pytest.raises(ValueError, match=r".*"):
        parse_duration(text)


def test_sizes_and_durations_are_shown_in_the_largest_unit_that_divides_them() -> None:
    assert [format_size(n) for n in (0, 1000, 1536 * KiB, 100 * MiB)] == [
        "0 B",
        "1000 B",
        "1536 KiB",
        "100 MiB",
    ]
    assert [format_duration(n) for n in (0, 0.02, 1.5, 90, 600, 7200)] == [
        "0s",
        "20ms",
        "1.5s",
        "90s",
        "10m",
        "2h",
    ]


def test_settings_become_plain_ints_and_floats() -> None:
    read = read_table({"size": "64 KiB", "wait": "500ms", "ratio": 1}, Example, where="kgw.toml")
    assert (type(read.size), read.size) == (int, 64 * KiB)
    assert (type(read.wait), read.wait) == (float, 0.5)
    assert (type(read.ratio), read.ratio) == (float, 1.0)
    assert type(read_table({"wait": 3}, Example, where="kgw.toml").wait) is float


def test_an_empty_table_gives_the_defaults() -> None:
    assert read_table({}, Example, where="kgw.toml") == Example()


def test_tables_arrays_of_tables_and_paths_are_read_as_the_types_say() -> None:
    tls = {"cert": "certs/a.pem", "versions": ["1.2", "1.3"]}
    table = {"servers": [{"host": "a", "tls": tls}, {"host": "b", "port": 9}], "any": [1], "labels": {"x": 1}}
    read = read_table(table, Example, where="/etc/kgw/kgw.toml")
    certificate = Tls(cert=Path("/etc/kgw/certs/a.pem"), versions=["1.2", "1.3"])
    assert read.servers == (Server(host="a", tls=certificate), Server(host="b", port=9))
    assert (read.any, read.labels) == ([1], {"x": 1})


def test_all_problems_are_told_at_once_each_on_a_line_of_its_own() -> None:
    table = {
        "count": "1",
        "on": 1,
        "mode": "lax",
        "size": 10,
        "wait": "?",
        "weights": [1, "two"],
        "labels": {"x": "y"},
        "servers": [{"host": "a"}, {"port": 70000, "tls": {"cert": 1, "versions": ["1.4"]}}],
        "server": 5,
    }
    assert problems(table) == [
        'kgw.toml: count: expected a whole number, got "1"',
        "kgw.toml: on: expected true or false, got 1",
        'kgw.toml: mode: expected "fast" or "safe", got "lax"',
        'kgw.toml: size: expected a size in bytes, such as 1048576 or "1MiB", at least 1 KiB, got 10',
        'kgw.toml: wait: expected a duration, such as 30 (seconds), "500ms" or "10m", more than 0, got "?"',
        'kgw.toml: weights[2]: expected a whole number, got "two"',
        'kgw.toml: [labels] x: expected a whole number, got "y"',
        "kgw.toml: [[servers]] #2 port: expected a whole number, at least 0, at most 65535, got 70000",
        "kgw.toml: [servers.tls] #2 cert: expected a path, got 1",
        'kgw.toml: [servers.tls] #2 versions[1]: expected "1.2" or "1.3", got "1.4"',
        "kgw.toml: [[servers]] #2 host: is missing; expected text",
        "kgw.toml: server: expected a table, got 5",
    ]


@pytest.mark.parametrize("value", [True, -1, float("inf"), float("nan"), 10**400, [], {}])
def test_a_size_or_a_duration_is_finite_and_not_negative(value: object) -> None:
    assert len(problems({"size": value, "wait": value})) == 2


def test_an_array_is_as_long_as_its_type_allows() -> None:
    assert len(problems({"weights": [1, 2, 3]})) == 1


def test_an_unknown_key_is_refused_with_the_nearest_name() -> None:
    assert problems({"passwort": "hunter2", "SIZE": 1, "servers": [{"host": "a", "prot": 1}]}) == [
        'kgw.toml: passwort: unknown key; did you mean "password"?',
        'kgw.toml: SIZE: unknown key; did you mean "size"?',
        'kgw.toml: [[servers]] #1 prot: unknown key; did you mean "port"?',
    ]


def test_an_unknown_key_that_is_like_none_is_refused_with_the_known_names() -> None:
    assert problems({"zzz": 1}, Server, name="server")[0] == (
        "kgw.toml: [server] zzz: unknown key; known here: host, port, tls"
    )


def test_what_post_init_finds_is_told_with_the_table() -> None:
    assert problems({"count": 13}, name="x") == ["kgw.toml: [x]: count must not be 13"]


def test_a_secret_is_text_a_variable_or_a_file_and_does_not_show(tmp_path: Path) -> None:
    (tmp_path / "password").write_text("hunter2\n")
    for given in ("hunter2", {"env": "PASSWORD"}, {"file": "password"}, {"file": str(tmp_path / "password")}):
        read = read_table(
            {"password": given}, Example, where=str(tmp_path / "kgw.toml"), env={"PASSWORD": "hunter2"}
        )
        assert read.password == "hunter2"
        assert "hunter2" not in repr(read)


def test_a_secret_that_is_not_there_is_told_without_what_was_given(tmp_path: Path) -> None:
    words = 'expected text, {env = "NAME"} or {file = "PATH"}'
    for given, told in (
        ({"env": "NOPE"}, "; environment variable NOPE is not set"),
        ({"file": "/nope"}, "; /nope: No such file or directory"),
        ({"env": "A", "file": "B"}, ""),
        (12345, ""),
    ):
        assert problems({"password": given}, env={}) == [f"kgw.toml: password: {words}{told}"]


def test_topic_configs_may_be_quoted_or_dotted_and_become_kafkas_text() -> None:
    table = {"configs": {"retention": {"ms": 1000}, "cleanup.policy": "compact", "preallocate": True}}
    assert read_table(table, Example, where="").configs == {
        "retention.ms": "1000",
        "cleanup.policy": "compact",
        "preallocate": "true",
    }
    assert problems({"configs": {"retention": {"ms": [1]}}}) == [
        "kgw.toml: [configs] retention.ms: expected text or a number, got an array"
    ]
    assert problems({"configs": 1}) == ["kgw.toml: [configs]: expected a table of Kafka topic configs, got 1"]


def test_rest_takes_what_no_other_field_takes() -> None:
    class Open(msgspec.Struct):
        use: str = "a"
        settings: Rest = {}

    assert read_table({"use": "b", "x": 1, "settings": 2}, Open, where="").settings == {"x": 1, "settings": 2}


def test_values_from_the_environment_are_text_for_whatever_type_the_setting_has() -> None:
    table: dict[str, Any] = {"servers": [{"host": "a"}]}
    env = {
        "APP_COUNT": "5",
        "APP_SERVERS__0__PORT": "80",
        "APP_SERVERS__1__HOST": "7",
        "APP_X__SIZE": "1 MiB",
        "APP_RATIO": "",
        "APP_NOT_A_SETTING": "1",
        "OTHER_COUNT": "9",
    }
    assert overlay(table, env, prefix="APP_", cls=Example) == []
    assert table == {
        "count": "5",
        "servers": [{"host": "a", "port": "80"}, {"host": "7"}],
        "x": {"size": "1 MiB"},
    }
    table |= table.pop("x") | {
        "on": FromEnv("true", "V"),
        "wait": FromEnv("5", "V"),
        "mode": FromEnv("fast", "V"),
    }
    read = read_table(table, Example, where="kgw.toml")
    assert (read.count, read.size, read.on, read.wait, read.mode) == (5, MiB, True, 5.0, "fast")
    assert read.servers == (Server(host="a", port=80), Server(host="7"))
    assert type(read.servers[1].host) is str


def test_a_wrong_value_from_the_environment_is_told_by_its_variable() -> None:
    table: dict[str, Any] = {"count": 1}
    env = {"K_SERVER__PORT": "x", "K_SRVER__PORT": "1", "K_COUNT__X": "1", "K_SERVERS__3__HOST": "a"}
    assert overlay(table, env, prefix="K_", cls=Example) == [
        'environment: K_COUNT__X: there is no "x" to set',
        'environment: K_SERVERS__3__HOST: there is no "3" to set',
    ]
    assert problems(table) == [
        'environment: K_SERVER__PORT: expected a whole number, at least 0, at most 65535, got "x"',
        "kgw.toml: [server] host: is missing; expected text",
        'environment: K_SRVER__PORT: unknown key "srver"; did you mean "server"?',
    ]


class Ordered(msgspec.Struct, frozen=True, kw_only=True):
    least: int = 5
    most: int = 10
    path: Path = Path("kgw.db")

    def __post_init__(self) -> None:
        wrong = []
        if self.most < self.least:
            wrong.append(("most", f"most ({self.most}) must be at least least ({self.least})", "least"))
        if self.path.suffix == ".txt":
            wrong.append(("path", "must not be a text"))
        if wrong:
            raise WrongSettings(*wrong)


class Orders(msgspec.Struct, frozen=True, kw_only=True):
    orders: tuple[Ordered, ...] = ()


def test_what_a_struct_refuses_is_told_by_key_and_all_at_once() -> None:
    assert problems({"most": 3, "path": "a.txt"}, Ordered, name="x") == [
        "kgw.toml: [x] most: most (3) must be at least least (5)",
        "kgw.toml: [x] path: must not be a text",
    ]
    assert problems({"orders": [{}, {"name": "a", "least": 11}]}, Orders) == [
        'kgw.toml: [[orders]] #2 "a" name: unknown key; known here: least, most, path',
        'kgw.toml: [[orders]] #2 "a" least: most (10) must be at least least (11)',
    ]
    assert problems({"least": FromEnv("11", "V")}, Ordered) == [
        "environment: V: most (10) must be at least least (11)"
    ]
    assert problems({"least": FromEnv("11", "V"), "most": FromEnv("9", "W")}, Ordered) == [
        "environment: W, V: most (9) must be at least least (11)"
    ]


class Needed(msgspec.Struct, frozen=True, kw_only=True):
    path: Path

    def __post_init__(self) -> None:
        if self.path.suffix == ".txt":
            raise WrongSettings(("path", "must not be a text"))


def test_what_a_struct_refuses_may_be_required() -> None:
    assert problems({"path": "a.txt"}, Needed, name="x") == ["kgw.toml: [x] path: must not be a text"]


def test_a_value_that_is_wrong_already_is_not_compared() -> None:
    assert problems({"least": "x", "most": 3, "path": "a.txt"}, Ordered) == [
        'kgw.toml: least: expected a whole number, got "x"',
        "kgw.toml: path: must not be a text",
    ]


def test_what_is_right_is_there_beside_what_is_wrong() -> None:
    report = Report("kgw.toml")
    table = {"servers": [{"host": "a", "port": "x"}, {}], "count": 7, "size": "x"}
    read = read_into(report, table, Example)
    assert len(report.problems) == 3
    assert read is not None
    assert (read.count, read.size) == (7, MiB)
    assert read.servers[0] == Server(host="a")
    assert not isinstance(read.servers[1], Server)


def test_a_path_is_relative_to_the_file_whether_it_is_given_or_not() -> None:
    assert read_table({}, Ordered, where="/etc/kgw/kgw.toml").path == Path("/etc/kgw/kgw.db")
    assert read_table({"path": "x"}, Ordered, where="/etc/kgw/kgw.toml").path == Path("/etc/kgw/x")


def test_what_is_found_later_is_told_with_the_variable_it_is_from() -> None:
    report = Report("kgw.toml")
    table = {"configs": {"retention_ms": FromEnv("x", "V")}, "count": FromEnv("3", "W")}
    assert read_into(report, table, Example) is not None
    report.add(Place("[configs]", "retention.ms"), "is no time")
    report.add(Place("", "count"), "is odd")
    report.add(Place("", "count"), "is told once")
    report.add(Place("", "ratio"), "goes with count", beside=[Place("", "count")])
    assert report.problems == ["environment: V: is no time", "environment: W: is odd"]


@pytest.mark.parametrize(
    ("variable", "right"),
    [
        ("K_SERVERS", "K_SERVERS__0__HOST"),
        ("K_SERVER", "K_SERVER__HOST"),
        ("K_CONFIGS", "K_CONFIGS__…"),
        ("K_SERVER_HOST", "K_SERVER__HOST"),
        ("K_SERVER_HOTS", "K_SERVER__HOST"),
        ("K_SERVERS_PORT_", "K_SERVERS__0__PORT"),
        ("K_SERVERS_0_PORT", "K_SERVERS__0__PORT"),
        ("K_SERVERS__PORT", "K_SERVERS__0__PORT"),
        ("K_CONFIGS_RETENTION_MS", "K_CONFIGS__RETENTION_MS"),
        ("K_PASWORD", "K_PASSWORD"),
    ],
)
def test_a_variable_that_looks_like_a_setting_is_told_with_the_right_one(variable: str, right: str) -> None:
    (told,) = overlay({}, {variable: "x"}, prefix="K_", cls=Example)
    assert told.startswith(f"environment: {variable}: ")
    assert told.endswith(f"; did you mean {right}?")


def test_a_variable_that_no_table_has_a_key_for_is_somebody_elses() -> None:
    assert overlay({}, {"K_SERVER_WEIGHT": "x", "K_LOG_DIR": "/var/log"}, prefix="K_", cls=Example) == []


@pytest.mark.parametrize(
    "variable",
    [
        "K_PORT", "K_SERVICE_HOST", "K_PORT_80_TCP_ADDR", "K_SERVER_PORT_80_TCP",
        "K_SERVER_SERVICE_PORT_HTTP", "K_TRACE", "K_", "SERVERS", "K_SOMETHING_ELSE",
    ],
)  # fmt: skip
def test_variables_of_others_are_left_alone(variable: str) -> None:
    table: dict[str, Any] = {}
    assert overlay(table, {variable: "x"}, prefix="K_", cls=Example) == []
    assert table == {}


def test_nearest_minds_neither_case_nor_hyphens() -> None:
    assert nearest("Max-Connections", ["max_connections", "max_topics"]) == "max_connections"
    assert nearest("zzz", ["max_connections"]) is None
