"""Kafka's broker configs out of the gateway's settings."""

from __future__ import annotations

from pathlib import Path

from kgw_core.config import Config, read_file, read_options
from kgw_core.configs.static import static_level
from kgw_core.topics.broker_configs import describe_broker
from kgw_core.topics.values import DEFAULT_CONFIG, STATIC_BROKER_CONFIG, ConfigEntry

FILE = """
rack = "a"
[topics]
num_partitions = 1
[topics.defaults]
retention.ms = 604800000
message.max.bytes = 5000
[limits]
max_connections = 7
[[listeners]]
port = 9093
advertise = "kafka.example:9093"
"""


def read(tmp_path: Path, text: str, **env: str) -> dict[str, ConfigEntry]:
    path = tmp_path / "kgw.toml"
    path.write_text(text)
    settings = read_file(path, env)
    level = static_level(settings.sound(), settings.given)
    return {entry.name: entry for entry in describe_broker([level])}


def test_what_the_file_sets_is_static_even_where_it_is_kafkas_default(tmp_path: Path) -> None:
    told = read(tmp_path, FILE, KGW_TOPICS__AUTO_CREATE="true")
    static = {name: entry.value for name, entry in told.items() if entry.source == STATIC_BROKER_CONFIG}
    assert {name: static.get(name) for name in (
        "advertised.listeners", "auto.create.topics.enable", "broker.rack", "listeners", "log.retention.ms",
        "max.connections", "message.max.bytes", "num.partitions",
    )} == {
        "advertised.listeners": "PLAINTEXT://kafka.example:9093",
        "auto.create.topics.enable": "true",
        "broker.rack": "a",
        "listeners": "PLAINTEXT://127.0.0.1:9093",
        "log.retention.ms": "604800000",
        "max.connections": "7",
        "message.max.bytes": "5000",
        "num.partitions": "1",
    }  # fmt: skip


def test_what_nobody_set_is_the_default_where_it_is_kafkas_and_static_where_it_is_not(tmp_path: Path) -> None:
    told = read(tmp_path, "")
    for name, source in {
        "num.partitions": DEFAULT_CONFIG,
        "socket.request.max.bytes": DEFAULT_CONFIG,
        "advertised.listeners": DEFAULT_CONFIG,
        "delete.topic.enable": DEFAULT_CONFIG,
        "auto.create.topics.enable": STATIC_BROKER_CONFIG,
        "max.connections": STATIC_BROKER_CONFIG,
        "listeners": STATIC_BROKER_CONFIG,
        "process.roles": STATIC_BROKER_CONFIG,
    }.items():
        assert told[name].source == source, name


def test_options_of_the_command_line_are_given() -> None:
    given = read_options(port=0, topics=["t"], env={"KGW_LIMITS__MAX_CONNECTIONS": "9"}).given
    assert {"listeners", "topics.create", "topics.auto_create", "limits.max_connections"} <= given
    assert "topics.num_partitions" not in given


def test_a_level_of_the_defaults_sets_nothing_that_is_kafkas_default() -> None:
    from kgw_core.topics.broker_config_table import BROKER_CONFIGS

    for name, text in static_level(Config()).values.items():
        assert BROKER_CONFIGS[name].default != text
