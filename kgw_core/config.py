"""The core's settings: typed, each with a default, read from a TOML file and the environment.

Precedence, highest first: options of the command line (:func:`dev`), the environment, the file, the defaults
here. ``docs/reference/configuration.md`` lists the settings; a test compares it with these classes.

``KGW_<TABLE>__<KEY>=value`` sets one value: ``KGW_LIMITS__MAX_CONNECTIONS=500``, ``KGW_NODE_ID=2``,
``KGW_LISTENERS__0__ADVERTISE=broker.example:9092`` (0 is the first). An empty variable sets nothing. Other
names that begin with ``KGW_`` are ignored, unless they contain two underscores in a row or look like a
misspelt setting.

``kgw_core.config_validation`` checks rules over several entries, Kafka's rules and the plugins' settings.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

import msgspec

from kgw_core.addresses import check_host, split_address
from kgw_core.spi.settings import (
    ConfigError,
    Duration,
    GiB,
    Given,
    KafkaConfigs,
    MiB,
    Report,
    Rest,
    Size,
    WrongSettings,
    format_duration,
    format_size,
    overlay,
    read_into,
)

Count = Annotated[int, msgspec.Meta(ge=1, le=2**31 - 1)]
PositiveSize = Annotated[Size, msgspec.Meta(ge=1)]
Timeout = Annotated[Duration, msgspec.Meta(gt=0)]


class Listener(msgspec.Struct, frozen=True, kw_only=True):
    """One address that clients connect to: an entry of ``[[listeners]]``."""

    name: Annotated[str, msgspec.Meta(min_length=1)] = "PLAINTEXT"
    """Its name in logs and messages. The names of listeners differ."""
    host: str = "127.0.0.1"
    """Address or name to bind. "0.0.0.0" is every IPv4 address, "::" every address. "unix:" with a path is a
    Unix socket, for programs that can dial one, such as tests; it has no port."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 9092
    """TCP port to bind. 0 is any free port."""
    advertise: str | None = None
    """"host:port" or "host" that clients connect to. Not set: the address that the client dialled, which is
    right except behind NAT or in a container."""
    backlog: Count = 128
    """Connections that wait in the kernel until they are accepted."""

    def __post_init__(self) -> None:
        wrong = []
        try:
            check_host(self.host)
        except ValueError as error:
            wrong.append(("host", str(error)))
        try:
            if self.advertised is not None and self.advertised[0] in ("0.0.0.0", "::"):
                wrong.append(("advertise", f'"{self.advertise}" is no address that clients can dial'))
        except ValueError as error:
            wrong.append(("advertise", str(error)))
        if wrong:
            raise WrongSettings(*wrong)

    @property
    def advertised(self) -> tuple[str, int | None] | None:
        """Host and port of :attr:`advertise`; the port is None where it names none."""
        return split_address(self.advertise) if self.advertise is not None else None


_CONNECTION = 168 << 10
"""Bytes of a connection: 8 KiB, up to 64 KiB of a frame that has begun, and three names of its client of up
to 32 KiB each."""
_PARTITION = 4 << 10
_SESSION_PARTITION = 450
_ENTRY = 1536
"""Bytes of an entry of a large request with its answer; only one such request is handled at a time. Measured
200 to 1,000, and 1,400 for a group of DescribeGroups."""
_OF_PARTITION, _OF_TOPIC = 50, 300
"""Bytes of a partition and of a topic in a request or an answer: at most 42 (Fetch) and 280 (Metadata)."""
_THREADS = 2
_INFLATING = 6
"""How many times its inflated size a batch takes while its records are checked or rewritten; measured at most
5."""
_COMPACTION = 64 << 20
_AT_REST = 192 << 20


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """Limits of clients: ``[limits]``."""

    max_request_size: PositiveSize = 100 * MiB
    """Largest request. A larger one is refused; if its response has no error about the whole request, the
    connection closes. At least 50 bytes for each possible partition and 300 for each possible topic, as a
    client may ask for all of them at once. Kafka's socket.request.max.bytes."""
    max_request_entries: Count | None = None
    """Entries of all arrays of one request, such as topics and partitions. A request with more is refused; if
    its response has no error about the whole request, the connection closes. Not set: two for each possible
    topic and partition. At least one for each."""
    max_connections: Count = 10_000
    """Open connections of all listeners. One more is closed at once. Kafka's max.connections."""
    max_connections_per_address: Count | None = None
    """Open connections of one client address. Not set: max_connections."""
    max_in_flight_requests: Count = 100
    """Requests of one connection that are read and not answered. At the limit, reading stops."""
    max_in_flight_bytes: PositiveSize = 128 * MiB
    """Bytes of those requests. At the limit, reading stops. At least max_request_size."""
    max_total_in_flight_bytes: PositiveSize = GiB
    """Bytes of those requests of all connections, and of appends that wait for the storage. Past the limit,
    connections with a request in flight are not read, and large frames wait. At least max_in_flight_bytes."""
    max_queued_bytes: PositiveSize = MiB
    """Bytes of unread answers of one connection. Past the limit, its requests are not handled."""
    max_total_queued_bytes: PositiveSize = GiB
    """Bytes of unread answers of all connections. Past the limit, the connection with the most is closed. At
    least max_queued_bytes, fetch_max_bytes and max_request_size. No answer is larger."""
    idle_timeout: Duration = 600.0
    """A connection without a request for this long is closed. 0 is never. Kafka's connections.max.idle.ms."""
    handshake_timeout: Timeout = 60.0
    """Time from the connect to the first request. Without one the connection is closed. Clients may connect
    ahead of need."""
    frame_timeout: Timeout = 60.0
    """Time within which a request that has begun must be complete, plus a second for each 64 KiB that have
    arrived. Else the connection is closed."""
    append_timeout: Timeout = 20.0
    """Time after which a Produce is answered with REQUEST_TIMED_OUT where the storage has not said what came
    of it; with acks=all not later than the client asks, if it gives a time. The batch may still be stored.
    Of a Produce of thousands of partitions 2,000 are given to the storage at a time, and each has this time.
    A change of a broker's configs waits as long for the state."""
    drain_timeout: Duration = 10.0
    """Time for each step when the gateway stops, such as answering the requests in flight."""
    fetch_max_bytes: PositiveSize = 55 * MiB
    """Most record bytes in one Fetch answer, also if the client asks for more. Kafka's fetch.max.bytes."""
    max_fetch_sessions: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 1000
    """Fetch sessions at a time (KIP-227). 0 is none. A client without one asks for all of its partitions in
    each Fetch. Kafka's max.incremental.fetch.session.cache.slots."""
    max_fetch_session_partitions: Count = 200_000
    """Partitions of all fetch sessions. Each takes about 450 bytes."""
    tail_cache: Size = 64 * MiB
    """Memory for the newest records of all topics if the storage is not memory, so that consumers at the end
    do not wait for it. 0 is none."""
    max_inflated_batch: Annotated[Size, msgspec.Meta(ge=MiB)] = 64 * MiB
    """Largest size of a batch after decompression. A larger one is refused. A batch may
    have a record for each 64 bytes of this. At least 1 MiB, what clients put into a batch by default."""
    max_topics: Count = 10_000
    """Most topics. Creating more is refused."""
    max_partitions: Count = 100_000
    """Most partitions of all topics. Creating more is refused."""

    @property
    def most_entries(self) -> int:
        """The effective :attr:`max_request_entries`. By default one Fetch may add all possible partitions to
        a session, and forget as many."""
        given = self.max_request_entries
        return given if given is not None else 2 * (self.max_topics + self.max_partitions)

    @property
    def most_memory(self) -> int:
        """The most bytes that clients can make the gateway take beside the stored data.
        docs/explanation/limits.md explains the sum."""
        requests = self.max_total_in_flight_bytes + self.max_total_in_flight_bytes // 4
        answers = 2 * self.max_total_queued_bytes
        inflating = _THREADS * _INFLATING * self.max_inflated_batch
        counted = (
            self.max_connections * _CONNECTION
            + self.max_partitions * _PARTITION
            + self.max_fetch_session_partitions * _SESSION_PARTITION
            + self.most_entries * _ENTRY
        )
        return requests + answers + inflating + counted + self.tail_cache + _COMPACTION + _AT_REST

    def __post_init__(self) -> None:
        rising = (
            *itertools.pairwise(("max_request_size", "max_in_flight_bytes", "max_total_in_flight_bytes")),
            ("max_queued_bytes", "max_total_queued_bytes"),
            ("fetch_max_bytes", "max_total_queued_bytes"),
            ("max_request_size", "max_total_queued_bytes"),  # an accepted batch can be fetched
        )
        _check_order(self, rising, format_size)
        self._check_partitions()

    def _check_partitions(self) -> None:
        """Check that one request, and one answer, can have all possible topics and partitions.

        :raises WrongSettings: they cannot.
        """
        wrong = []
        counted = self.max_topics + self.max_partitions
        size = self.max_topics * _OF_TOPIC + self.max_partitions * _OF_PARTITION
        if self.most_entries < counted:
            problem = (
                f"max_request_entries ({self.most_entries}) must be at least max_topics and max_partitions "
                f"together ({counted})"
            )
            wrong.append(("max_request_entries", problem, "max_partitions", "max_topics"))
        if self.max_request_size < size:
            problem = (
                f"max_request_size ({format_size(self.max_request_size)}) must be at least {_OF_PARTITION} "
                f"bytes for each of max_partitions ({self.max_partitions}) and {_OF_TOPIC} for each of "
                f"max_topics ({self.max_topics})"
            )
            wrong.append(("max_request_size", problem, "max_partitions", "max_topics"))
        if wrong:
            raise WrongSettings(*wrong)


def _check_order(table: object, rising: Iterable[tuple[str, str]], shown: Callable[[Any], str]) -> None:
    """Check pairs of keys. :raises WrongSettings: a second key has a lower value than its first."""
    wrong = []
    for small, large in rising:
        low, high = getattr(table, small), getattr(table, large)
        if high < low:
            wrong.append((large, f"{large} ({shown(high)}) must be at least {small} ({shown(low)})", small))
    if wrong:
        raise WrongSettings(*wrong)


class NewTopic(msgspec.Struct, frozen=True, kw_only=True):
    """A topic that is created at start unless it is there: an entry of ``[[topics.create]]``."""

    name: Annotated[str, msgspec.Meta(min_length=1)]
    """The topic's name."""
    partitions: Count | None = None
    """Its partitions. Not set: num_partitions. An existing topic keeps its own."""
    configs: KafkaConfigs = {}
    """Its configs by Kafka's names, such as cleanup.policy = "compact"."""


class Topics(msgspec.Struct, frozen=True, kw_only=True):
    """Topics, their creation and upkeep: ``[topics]``."""

    auto_create: bool = False
    """Create an unknown topic when a client asks for it and allows it. Kafka's auto.create.topics.enable,
    which is on by default there; on in `kgw dev`."""
    num_partitions: Count = 1
    """Partitions of a topic if its creator gives no number. Kafka's num.partitions."""
    replication_factor: Literal["accept", "strict"] = "strict"
    """If a client asks for more replicas than there are brokers, "strict" refuses as Kafka does, and "accept"
    creates the topic with one."""
    check_records: Literal["all", "frame", "header"] = "all"
    """The checks of a produced batch: "all" checks every field of its records, as Kafka does, "frame" their
    lengths and number, "header" nothing of them. With the last two, retention and look-ups by time trust the
    max timestamp in the batch's header. Topics that are compacted, or have a compression.type of their own,
    always use "all"."""
    defaults: KafkaConfigs = {}
    """Configs of all topics that do not set them, by Kafka's names, such as retention.ms = 3600000."""
    retention_check_interval: Timeout = 300.0
    """Time between two checks of retention.ms and retention.bytes. Kafka's
    log.retention.check.interval.ms."""
    compaction_check_interval: Timeout = 15.0
    """Time between two checks for topics to compact. Kafka's log.cleaner.backoff.ms."""
    create: tuple[NewTopic, ...] = ()
    """Topics to create at start."""


class Groups(msgspec.Struct, frozen=True, kw_only=True):
    """Consumer groups and committed offsets: ``[groups]``."""

    min_session_timeout: Timeout = 6.0
    """Shortest session timeout that a member may ask for. Kafka's group.min.session.timeout.ms."""
    max_session_timeout: Timeout = 1800.0
    """Longest session timeout that a member may ask for. Kafka's group.max.session.timeout.ms."""
    initial_rebalance_delay: Duration = 3.0
    """How long the first rebalance of an empty group waits for more members. Kafka's
    group.initial.rebalance.delay.ms; 100 ms in `kgw dev`."""
    max_size: Count | None = None
    """Most members of a group. Not set: any number. Kafka's group.max.size."""
    offset_metadata_max_size: Annotated[Size, msgspec.Meta(ge=0, le=32_767)] = 4096
    """Longest text that a client may commit with an offset, in UTF-16 code units as in Kafka; at most 32767,
    the limit of old versions of OffsetCommit. Kafka's offset.metadata.max.bytes."""
    commit_timeout: Timeout = 5.0
    """Time after which members get COORDINATOR_NOT_AVAILABLE if the state has not answered a write of their
    group. The write may still be done. Kafka's offsets.commit.timeout.ms."""
    offsets_retention: Timeout = 604800.0
    """Committed offsets expire this long after their group lost its last member, or after the commit if no
    member subscribes to the topic. Kafka's offsets.retention.minutes."""
    offsets_check_interval: Timeout = 600.0
    """Time between two checks for expired offsets. Kafka's offsets.retention.check.interval.ms."""

    def __post_init__(self) -> None:
        _check_order(self, [("min_session_timeout", "max_session_timeout")], format_duration)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """The state of the gateway itself, such as committed offsets: ``[state]``."""

    use: str | None = None
    """The state plugin. Not set: the storage's own state store; else the core's, in an internal log of a
    durable storage, or in memory."""
    settings: Rest = {}
    """All other keys of the table are the plugin's own settings."""


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """The storage plugin, which keeps the records: ``[storage]``."""

    use: str = "memory"
    """The storage plugin; `kgw plugins` shows those installed."""
    settings: Rest = {}
    """All other keys of the table are the plugin's own settings."""


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """The plugin that leads partitions and gives out offsets: ``[ledger]``."""

    use: str | None = None
    """The ledger plugin. Not set: the core's own, for a store that only one gateway writes."""
    settings: Rest = {}
    """All other keys of the table are the plugin's own settings."""


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """The log of the gateway: ``[log]``."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The lowest level of messages that are written. "debug" shows every request."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of the core."""

    node_id: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 1
    """This gateway's broker id. Kafka's node.id."""
    session_timeout: Timeout = 9.0
    """If several gateways share their logs, one counts as gone this long after its last heartbeat. It sends
    four in that time. Kafka's broker.session.timeout.ms."""
    rack: str | None = None
    """The place of this gateway, for clients that fetch from a close replica. Kafka's broker.rack."""
    cluster_id: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """The cluster's id for clients. Not set: it is made at the first start and stored with the data."""
    listeners: tuple[Listener, ...] = (Listener(),)
    """Addresses that clients connect to."""
    limits: Limits = Limits()
    """Limits of clients."""
    topics: Topics = Topics()
    """Topics, their creation and upkeep."""
    groups: Groups = Groups()
    """Consumer groups and committed offsets."""
    storage: Storage = Storage()
    """The storage plugin."""
    state: State = State()
    """The state of the gateway itself."""
    ledger: Ledger = Ledger()
    """The ledger plugin."""
    log: Log = Log()
    """The log of the gateway."""


class Settings(NamedTuple):
    """The settings that were read. ``report`` has their problems; ``config`` has defaults in place of wrong
    values.

    ``given`` names the settings that somebody wrote down, as ``topics.num_partitions``.
    """

    config: Config
    report: Report
    given: frozenset[str] = frozenset()

    def sound(self) -> Config:
        """The config if it has no problems. :raises ConfigError: it has problems."""
        if self.report.problems:
            raise ConfigError(*self.report.problems)
        return self.config


def load(path: Path | None, env: Mapping[str, str] | None = None) -> Config:
    """The settings of the file at ``path`` (None: no file), overridden by ``env`` (None: the process's).

    :raises ConfigError: the file cannot be read or is not TOML, or settings are wrong. It names all of them.
    """
    return read_file(path, env).sound()


def dev(
    *,
    host: str | None = None,
    port: int | None = None,
    advertise: str | None = None,
    topics: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Config:
    """The settings of ``kgw dev``: one listener, memory storage, auto-created topics, a short rebalance
    delay.

    The arguments override ``env`` (None: the process's environment). ``topics`` are texts for
    :func:`new_topic`.

    :raises ConfigError: settings are wrong. It names all of them.
    """
    return read_options(host=host, port=port, advertise=advertise, topics=topics, env=env).sound()


def read_file(path: Path | None, env: Mapping[str, str] | None = None) -> Settings:
    """As :func:`load`, with the problems of settings in the report.

    :raises ConfigError: the file cannot be read or is not TOML.
    """
    table: dict[str, Any] = {}
    if path is not None:
        import tomllib

        try:
            table = tomllib.loads(path.read_text(encoding="utf-8-sig"))
        except OSError as error:
            raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
        except UnicodeDecodeError as error:
            raise ConfigError(f"{path}: is not UTF-8 text, as TOML has to be: {error}") from None
        except ValueError as error:  # TOMLDecodeError
            raise ConfigError(f"{path}: is not TOML: {error}") from None
    return _read(table, str(path or "environment"), os.environ if env is None else env)


def read_options(
    *,
    host: str | None = None,
    port: int | None = None,
    advertise: str | None = None,
    topics: Sequence[str] = (),
    env: Mapping[str, str] | None = None,
) -> Settings:
    """As :func:`dev`, with the problems in the report."""
    env = os.environ if env is None else env
    listener = {"host": host, "port": port, "advertise": advertise}
    given = {
        key: Given(str(value), f"--{key} {value}") for key, value in listener.items() if value is not None
    }
    table: dict[str, Any] = {
        "topics": {"auto_create": True, "replication_factor": "accept"},
        # Short, but not 0: kafka-python stalls if a generation comes before its metadata, and members that
        # start together should meet in one generation.
        "groups": {"initial_rebalance_delay": 0.1},
        "storage": {"use": "memory"},
        "listeners": [given],
    }
    if topics:
        table["topics"]["create"] = [new_topic(text) for text in topics]
    ignored = {f"KGW_LISTENERS__0__{key.upper()}" for key in given}
    return _read(table, "kgw dev", {name: text for name, text in env.items() if name not in ignored})


def new_topic(text: str) -> dict[str, Given]:
    """The table of :class:`NewTopic` for ``"orders"``, or for ``"orders:3"`` with three partitions."""
    name, colon, partitions = text.rpartition(":")
    source = f"--topic {text}"
    if not colon:
        return {"name": Given(text, source)}
    return {"name": Given(name, source), "partitions": Given(partitions, source)}


def _read(table: dict[str, Any], where: str, env: Mapping[str, str]) -> Settings:
    report = Report(where)
    report.problems += overlay(table, env, prefix="KGW_", cls=Config)
    config = read_into(report, table, Config, env=env)
    given = (
        f"{name}.{key}" if key else name
        for name, value in table.items()
        for key in (value if isinstance(value, dict) else [""])
    )
    return Settings(config or Config(), report, frozenset(given))
