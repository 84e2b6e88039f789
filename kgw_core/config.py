"""The core's settings: typed, each with a default, read from a TOML file and the environment.

Precedence, highest first: options of the command line (:func:`dev`), the environment, the file, the
defaults here. ``docs/reference/configuration.md`` shows them all; a test compares it with these classes.

``KGW_<TABLE>__<KEY>=value`` sets one value: ``KGW_LIMITS__MAX_CONNECTIONS=500``, ``KGW_NODE_ID=2``,
``KGW_LISTENERS__0__ADVERTISE=broker.example:9092`` (0 is the first). An empty variable counts as not set.
Other names that begin with ``KGW_`` are left alone unless they contain two underscores in a row or look like
a setting that is spelt wrong.

What a Struct here cannot see, since it is about several entries, Kafka's rules or a plugin, is checked in
``kgw_core.config_validation``.
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
    """What logs and messages call it; no two listeners share a name."""
    host: str = "127.0.0.1"
    """Address or name to bind; "0.0.0.0" for every IPv4 address, "::" for every address. "unix:" and a path
    listens on a Unix socket, for programs that can dial one, such as tests; it has no port."""
    port: Annotated[int, msgspec.Meta(ge=0, le=65535)] = 9092
    """TCP port to bind; 0 takes any free one."""
    advertise: str | None = None
    """"host:port" or "host" that clients are told to connect to. Not set: the address that the client itself
    dialled, which is right unless NAT or a container lies between."""
    backlog: Count = 128
    """Connections that the kernel keeps waiting until they are accepted."""

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
"""Of a connection: 8 KiB, up to 64 KiB of a frame that has begun, and three names that its client gives
itself, each of up to 32 KiB."""
_PARTITION = 4 << 10
_SESSION_PARTITION = 450
_ENTRY = 1536
"""Of the one request of very many entries that is read and answered at a time, with its answer: measured 200
to 1,000 for an entry, and 1,400 for a group of DescribeGroups."""
_OF_PARTITION, _OF_TOPIC = 50, 300
"""Bytes that it takes to ask for one, or to tell of it: at most 42 (Fetch) and 280 (Metadata)."""
_THREADS = 2
_INFLATING = 6
"""A batch that is looked into: what it inflates to, its records, what is made of them; measured at most 5."""
_COMPACTION = 64 << 20
_AT_REST = 192 << 20


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """What a client may ask of the gateway: ``[limits]``."""

    max_request_size: PositiveSize = 100 * MiB
    """Largest request; a larger one is refused, or closes the connection where the answer has no place for an
    error about the whole. At least 50 bytes for each partition that may exist and 300 for each topic, as a
    client may ask for all of them at once. Kafka's socket.request.max.bytes."""
    max_request_entries: Count | None = None
    """Entries that the arrays of one request may have together, such as topics and partitions; more is
    refused, or closes the connection where the answer has no place for an error about the whole. Not set: two
    for each topic and partition that may exist. At least one for each."""
    max_connections: Count = 10_000
    """Connections open at once over all listeners; one more is closed at once. Kafka's max.connections."""
    max_connections_per_address: Count | None = None
    """Connections open at once from one client address. Not set: as many as max_connections."""
    max_in_flight_requests: Count = 100
    """Requests of one connection that are read and not yet answered; then reading stops."""
    max_in_flight_bytes: PositiveSize = 128 * MiB
    """Bytes of those requests; then reading stops. At least max_request_size."""
    max_total_in_flight_bytes: PositiveSize = GiB
    """The same over all connections, and what waits for the storage: past it, connections with a request in
    flight are not read, and no large frame is begun. At least max_in_flight_bytes."""
    max_queued_bytes: PositiveSize = MiB
    """Answers that one connection may leave unread before its requests are no longer handled."""
    max_total_queued_bytes: PositiveSize = GiB
    """Answers that all connections together may leave unread; past it the one with the most is closed. At
    least max_queued_bytes, fetch_max_bytes and max_request_size; no answer is larger."""
    idle_timeout: Duration = 600.0
    """A connection with no request for this long is closed; 0 is never. Kafka's connections.max.idle.ms."""
    handshake_timeout: Timeout = 60.0
    """Time from the connect until the first request is there; without one the connection is closed. Clients
    may connect ahead of need."""
    frame_timeout: Timeout = 60.0
    """Time within which a request that has begun must be there whole, and a second more for each 64 KiB that
    have arrived; else the connection is closed."""
    append_timeout: Timeout = 20.0
    """Time after which a Produce is answered with REQUEST_TIMED_OUT where the storage has not said what came
    of it; with acks=all not later than the client asks, if it gives a time. The batch may still be stored.
    Of a Produce of thousands of partitions 2,000 are given to the storage at a time, and each has this time.
    A change of a broker's configs waits as long for the state."""
    drain_timeout: Duration = 10.0
    """Time that requests in flight get to finish when the gateway stops."""
    fetch_max_bytes: PositiveSize = 55 * MiB
    """Most record bytes in one Fetch answer, whatever the client asks. Kafka's fetch.max.bytes."""
    max_fetch_sessions: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 1000
    """Fetch sessions that are remembered at once (KIP-227); 0 is none. A client without one asks for all of
    its partitions in each Fetch. Kafka's max.incremental.fetch.session.cache.slots."""
    max_fetch_session_partitions: Count = 200_000
    """Partitions of all fetch sessions; each takes about 450 bytes."""
    tail_cache: Size = 64 * MiB
    """Memory for the newest records of all topics where the storage is not memory, so that consumers at the
    end do not wait for it; 0 is none."""
    max_inflated_batch: Annotated[Size, msgspec.Meta(ge=MiB)] = 64 * MiB
    """What one compressed batch may grow to when it is decompressed; a larger one is refused. A batch may
    have a record for each 64 bytes of this. At least 1 MiB, what clients put into a batch by default."""
    max_topics: Count = 10_000
    """Topics that may exist; creating more is refused."""
    max_partitions: Count = 100_000
    """Partitions that may exist, over all topics; creating more is refused."""

    @property
    def most_entries(self) -> int:
        """What :attr:`max_request_entries` comes to: by default, one Fetch may add everything that may exist
        to a session, and forget all that there was."""
        given = self.max_request_entries
        return given if given is not None else 2 * (self.max_topics + self.max_partitions)

    @property
    def most_memory(self) -> int:
        """Bytes that clients can make the gateway take, beside what they store: the sum that
        docs/explanation/limits.md explains."""
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
            ("max_request_size", "max_total_queued_bytes"),  # a batch that was taken can be given
        )
        _check_order(self, rising, format_size)
        self._check_partitions()

    def _check_partitions(self) -> None:
        """:raises WrongSettings: what may be created cannot be named in one request or told in one answer."""
        wrong = []
        counted = self.max_topics + self.max_partitions
        size = self.max_topics * _OF_TOPIC + self.max_partitions * _OF_PARTITION
        if self.most_entries < counted:
            told = (
                f"max_request_entries ({self.most_entries}) must be at least max_topics and max_partitions "
                f"together ({counted})"
            )
            wrong.append(("max_request_entries", told, "max_partitions", "max_topics"))
        if self.max_request_size < size:
            told = (
                f"max_request_size ({format_size(self.max_request_size)}) must be at least {_OF_PARTITION} "
                f"bytes for each of max_partitions ({self.max_partitions}) and {_OF_TOPIC} for each of "
                f"max_topics ({self.max_topics})"
            )
            wrong.append(("max_request_size", told, "max_partitions", "max_topics"))
        if wrong:
            raise WrongSettings(*wrong)


def _check_order(table: object, rising: Iterable[tuple[str, str]], shown: Callable[[Any], str]) -> None:
    """:raises WrongSettings: of a pair of keys, the second has a value below that of the first."""
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
    """Its partitions. Not set: num_partitions. A topic that is there already keeps what it has."""
    configs: KafkaConfigs = {}
    """Its configs by Kafka's names, such as cleanup.policy = "compact"."""


class Topics(msgspec.Struct, frozen=True, kw_only=True):
    """How topics come to be: ``[topics]``."""

    auto_create: bool = False
    """Create a topic when a client that allows it asks for one that is not there. Kafka's
    auto.create.topics.enable, which is on there; on in `kgw dev`."""
    num_partitions: Count = 1
    """Partitions of a topic where nobody says how many. Kafka's num.partitions."""
    replication_factor: Literal["accept", "strict"] = "strict"
    """A client asks for more replicas than there are brokers: "strict" refuses as Kafka does, "accept"
    creates the topic with one."""
    check_records: Literal["all", "frame", "header"] = "all"
    """How closely a batch that is produced is looked at: "all" is every field of its records, as Kafka does,
    "frame" their lengths and number, "header" nothing of them. With these two, retention and look-ups by
    time go by the largest timestamp that the batch's header tells. On topics that are compacted, or have a
    compression.type of their own, it is always "all"."""
    defaults: KafkaConfigs = {}
    """Configs of every topic that does not set them, by Kafka's names, such as retention.ms = 3600000."""
    retention_check_interval: Timeout = 300.0
    """Time between two looks for records that retention.ms and retention.bytes let go. Kafka's
    log.retention.check.interval.ms."""
    compaction_check_interval: Timeout = 15.0
    """Time between two looks for topics to compact. Kafka's log.cleaner.backoff.ms."""
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
    """Longest text that a client may commit with an offset, counted in UTF-16 code units, as Kafka does; at
    most 32767, as old versions of OffsetCommit have no place for more. Kafka's offset.metadata.max.bytes."""
    commit_timeout: Timeout = 5.0
    """Time after which members are told COORDINATOR_NOT_AVAILABLE where the state has not said what came of
    a write of their group. The write may still be done. Kafka's offsets.commit.timeout.ms."""
    offsets_retention: Timeout = 604800.0
    """Committed offsets are dropped this long after their group lost its last member, or after the commit
    where nobody subscribes to the topic. Kafka's offsets.retention.minutes."""
    offsets_check_interval: Timeout = 600.0
    """Time between looks for offsets to drop. Kafka's offsets.retention.check.interval.ms."""

    def __post_init__(self) -> None:
        _check_order(self, [("min_session_timeout", "max_session_timeout")], format_duration)


class State(msgspec.Struct, frozen=True, kw_only=True):
    """Where the gateway keeps its own state, such as committed offsets: ``[state]``."""

    use: str | None = None
    """The state plugin. Not set: what the storage brings along, or the core's own, in an internal log of the
    storage where that is durable, in memory where it is not."""
    settings: Rest = {}
    """Every other key of the table is the plugin's own and is checked against the plugin's settings."""


class Storage(msgspec.Struct, frozen=True, kw_only=True):
    """Which storage plugin keeps the records: ``[storage]``."""

    use: str = "memory"
    """The storage plugin; `kgw plugins` shows those installed."""
    settings: Rest = {}
    """Every other key of the table is the plugin's own and is checked against the plugin's settings."""


class Ledger(msgspec.Struct, frozen=True, kw_only=True):
    """Which plugin numbers records: ``[ledger]``."""

    use: str | None = None
    """The ledger plugin. Not set: the core's own, which is right for a store that one gateway writes."""
    settings: Rest = {}
    """Every other key of the table is the plugin's own and is checked against the plugin's settings."""


class Log(msgspec.Struct, frozen=True, kw_only=True):
    """What the gateway writes about itself: ``[log]``."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    """The least important messages that are written; "debug" shows every request."""


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings of the core."""

    node_id: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)] = 1
    """This gateway's broker id. Kafka's node.id."""
    session_timeout: Timeout = 9.0
    """Where several gateways share their logs: how long after its last sign of life one counts as gone. It
    gives four in that time. Kafka's broker.session.timeout.ms."""
    rack: str | None = None
    """Where this gateway stands, for clients that fetch from near by. Kafka's broker.rack."""
    cluster_id: Annotated[str, msgspec.Meta(min_length=1)] | None = None
    """What clients are told the cluster is called. Not set: made at the first start, kept with the data."""
    listeners: tuple[Listener, ...] = (Listener(),)
    """Addresses that clients connect to."""
    limits: Limits = Limits()
    """What a client may ask of the gateway."""
    topics: Topics = Topics()
    """How topics come to be."""
    groups: Groups = Groups()
    """Consumer groups and committed offsets."""
    storage: Storage = Storage()
    """Which plugin keeps the records."""
    state: State = State()
    """Where the gateway keeps its own state."""
    ledger: Ledger = Ledger()
    """Which plugin numbers records."""
    log: Log = Log()
    """What the gateway writes about itself."""


class Settings(NamedTuple):
    """What was read: ``config``, and in ``report`` what is wrong with it so far, which config leaves out.

    ``given`` names the settings that somebody wrote down, as ``topics.num_partitions``.
    """

    config: Config
    report: Report
    given: frozenset[str] = frozenset()

    def sound(self) -> Config:
        """The config. :raises ConfigError: something is wrong with it."""
        if self.report.problems:
            raise ConfigError(*self.report.problems)
        return self.config


def load(path: Path | None, env: Mapping[str, str] | None = None) -> Config:
    """The settings in the file at ``path`` (None: no file) and, over them, in ``env`` (None: the process's).

    :raises ConfigError: the file cannot be read or is not TOML, or settings are wrong: all of them at once.
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
    """The settings of ``kgw dev``: one listener, memory storage, topics made when asked for, groups at once.

    What is given here wins over ``env`` (None: the process's environment); ``topics`` are texts as
    :func:`new_topic` takes them.

    :raises ConfigError: settings are wrong, all of them at once.
    """
    return read_options(host=host, port=port, advertise=advertise, topics=topics, env=env).sound()


def read_file(path: Path | None, env: Mapping[str, str] | None = None) -> Settings:
    """As :func:`load`, with all that is wrong with settings in the report.

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
    """As :func:`dev`, with all that is wrong in the report."""
    env = os.environ if env is None else env
    listener = {"host": host, "port": port, "advertise": advertise}
    given = {
        key: Given(str(value), f"--{key} {value}") for key, value in listener.items() if value is not None
    }
    table: dict[str, Any] = {
        "topics": {"auto_create": True, "replication_factor": "accept"},
        # Short; but kafka-python stalls where a generation is there before its metadata, and members that
        # start together meet in one generation.
        "groups": {"initial_rebalance_delay": 0.1},
        "storage": {"use": "memory"},
        "listeners": [given],
    }
    if topics:
        table["topics"]["create"] = [new_topic(text) for text in topics]
    ignored = {f"KGW_LISTENERS__0__{key.upper()}" for key in given}
    return _read(table, "kgw dev", {name: text for name, text in env.items() if name not in ignored})


def new_topic(text: str) -> dict[str, Given]:
    """The table of :class:`NewTopic` that ``"orders"`` or ``"orders:3"`` (three partitions) means."""
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
