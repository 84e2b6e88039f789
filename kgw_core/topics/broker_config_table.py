"""The configs of a broker that admin tools look for: one entry each, in the order of their names.

Names, types and defaults are Kafka's (4.4.0). ``docs/reference/broker-configs.md`` shows this table; a test
compares the two.
"""

from __future__ import annotations

from kgw_core.topics.values import BOOLEAN, DOUBLE, INT, LIST, LONG, PASSWORD, SHORT, STRING

_FOREVER = "9223372036854775807"


class BrokerConfig:
    """One config of a broker.

    ``default`` is Kafka's (None: it has none). ``setting`` is the gateway's own setting that the value comes
    from, ``here`` the value that holds in any case; where both are None it has no effect.
    """

    __slots__ = ("default", "doc", "here", "name", "setting", "type")

    def __init__(
        self,
        name: str,
        type: int,
        default: str | None,
        doc: str,
        *,
        setting: str | None = None,
        here: str | None = None,
    ) -> None:
        self.name = name
        self.type = type
        self.default = default
        self.doc = doc
        self.setting = setting
        self.here = here

    def __repr__(self) -> str:
        return f"<{self.name}>"


_TABLE = (
    BrokerConfig(
        "advertised.listeners",
        LIST,
        None,
        "Addresses that clients are told to connect to.",
        setting="listeners.advertise",
    ),
    BrokerConfig(
        "authorizer.class.name",
        STRING,
        "",
        "What decides who may do what; empty lets everybody do everything.",
    ),
    BrokerConfig(
        "auto.create.topics.enable",
        BOOLEAN,
        "true",
        "Whether a topic is made when a client that allows it asks for one that is not there.",
        setting="topics.auto_create",
    ),
    BrokerConfig(
        "auto.leader.rebalance.enable",
        BOOLEAN,
        "true",
        "Whether leadership moves back to the first replica by itself; there is one replica.",
        here="false",
    ),
    BrokerConfig("broker.id", INT, "-1", "This gateway's id, by its older name.", setting="node_id"),
    BrokerConfig(
        "broker.rack",
        STRING,
        None,
        "Where this gateway stands, for clients that fetch from near by.",
        setting="rack",
    ),
    BrokerConfig(
        "compression.gzip.level", INT, "-1", "Default of the topic config.", setting="topics.defaults"
    ),
    BrokerConfig(
        "compression.lz4.level", INT, "9", "Default of the topic config.", setting="topics.defaults"
    ),
    BrokerConfig(
        "compression.type", STRING, "producer", "Default of the topic config.", setting="topics.defaults"
    ),
    BrokerConfig(
        "compression.zstd.level", INT, "3", "Default of the topic config.", setting="topics.defaults"
    ),
    BrokerConfig(
        "connection.failed.authentication.delay.ms",
        INT,
        "100",
        "How long the answer to a failed login is held back.",
    ),
    BrokerConfig(
        "connections.max.idle.ms",
        LONG,
        "600000",
        "Time after which a connection without requests is closed.",
        setting="limits.idle_timeout",
    ),
    BrokerConfig(
        "connections.max.reauth.ms", LONG, "0", "Time after which a client must log in again; 0 is never."
    ),
    BrokerConfig(
        "controlled.shutdown.enable",
        BOOLEAN,
        "true",
        "Whether a broker that stops hands over its partitions first.",
    ),
    BrokerConfig(
        "default.replication.factor",
        INT,
        "1",
        "Replicas of a topic where nobody says how many; the store replicates, if any.",
        here="1",
    ),
    BrokerConfig(
        "delegation.token.expiry.time.ms",
        LONG,
        "86400000",
        "Time for which a delegation token is valid; there are none here.",
    ),
    BrokerConfig(
        "delegation.token.max.lifetime.ms",
        LONG,
        "604800000",
        "Time after which a delegation token cannot be renewed; there are none here.",
    ),
    BrokerConfig("delete.topic.enable", BOOLEAN, "true", "Whether topics can be deleted.", here="true"),
    BrokerConfig(
        "fetch.max.bytes",
        INT,
        "57671680",
        "Most bytes in one answer to a Fetch.",
        setting="limits.fetch_max_bytes",
    ),
    BrokerConfig(
        "group.consumer.assignors",
        LIST,
        "uniform,range",
        "Server-side assignors of the consumer protocol (KIP-848).",
    ),
    BrokerConfig(
        "group.consumer.heartbeat.interval.ms",
        INT,
        "5000",
        "Time between heartbeats in the consumer protocol.",
    ),
    BrokerConfig(
        "group.consumer.max.heartbeat.interval.ms",
        INT,
        "15000",
        "Longest time between heartbeats that a group may have in the consumer protocol.",
    ),
    BrokerConfig(
        "group.consumer.max.session.timeout.ms",
        INT,
        "60000",
        "Longest session that a group may have in the consumer protocol.",
    ),
    BrokerConfig(
        "group.consumer.max.size", INT, "2147483647", "Most members of a group in the consumer protocol."
    ),
    BrokerConfig(
        "group.consumer.migration.policy",
        STRING,
        "bidirectional",
        "Whether groups may change between the classic and the consumer protocol.",
    ),
    BrokerConfig(
        "group.consumer.min.heartbeat.interval.ms",
        INT,
        "5000",
        "Shortest time between heartbeats that a group may have in the consumer protocol.",
    ),
    BrokerConfig(
        "group.consumer.min.session.timeout.ms",
        INT,
        "45000",
        "Shortest session that a group may have in the consumer protocol.",
    ),
    BrokerConfig(
        "group.consumer.session.timeout.ms",
        INT,
        "45000",
        "Time without a heartbeat after which a member is out, in the consumer protocol.",
    ),
    BrokerConfig(
        "group.coordinator.rebalance.protocols",
        LIST,
        "classic,consumer,streams",
        "Group protocols that are served.",
        here="classic",
    ),
    BrokerConfig(
        "group.initial.rebalance.delay.ms",
        INT,
        "3000",
        "How long the first rebalance of an empty group waits for more members.",
        setting="groups.initial_rebalance_delay",
    ),
    BrokerConfig(
        "group.max.session.timeout.ms",
        INT,
        "1800000",
        "Longest session timeout that a member may ask for.",
        setting="groups.max_session_timeout",
    ),
    BrokerConfig("group.max.size", INT, "2147483647", "Most members of a group.", setting="groups.max_size"),
    BrokerConfig(
        "group.min.session.timeout.ms",
        INT,
        "6000",
        "Shortest session timeout that a member may ask for.",
        setting="groups.min_session_timeout",
    ),
    BrokerConfig(
        "inter.broker.listener.name",
        STRING,
        None,
        "Listener that brokers use among themselves; gateways do not talk to each other.",
    ),
    BrokerConfig(
        "inter.broker.protocol.version",
        STRING,
        None,
        "Removed in Kafka 4; some tools read from it what the broker can do.",
        here="4.0-IV3",
    ),
    BrokerConfig(
        "listener.security.protocol.map",
        STRING,
        "SASL_SSL:SASL_SSL,PLAINTEXT:PLAINTEXT,SSL:SSL,SASL_PLAINTEXT:SASL_PLAINTEXT",
        "Which of PLAINTEXT, SSL, SASL_PLAINTEXT and SASL_SSL each listener speaks.",
    ),
    BrokerConfig(
        "listeners", LIST, "PLAINTEXT://:9092", "Addresses that the gateway listens on.", setting="listeners"
    ),
    BrokerConfig(
        "log.cleaner.backoff.ms",
        LONG,
        "15000",
        "Pause of compaction when there is nothing to do.",
        setting="topics.compaction_check_interval",
    ),
    BrokerConfig(
        "log.cleaner.delete.retention.ms",
        LONG,
        "86400000",
        "Default of the topic config delete.retention.ms.",
        setting="topics.defaults",
    ),
    BrokerConfig("log.cleaner.enable", BOOLEAN, "true", "Whether compaction runs at all."),
    BrokerConfig(
        "log.cleaner.max.compaction.lag.ms",
        LONG,
        _FOREVER,
        "Default of the topic config max.compaction.lag.ms.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.cleaner.min.cleanable.ratio",
        DOUBLE,
        "0.5",
        "Default of the topic config min.cleanable.dirty.ratio.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.cleaner.min.compaction.lag.ms",
        LONG,
        "0",
        "Default of the topic config min.compaction.lag.ms.",
        setting="topics.defaults",
    ),
    BrokerConfig("log.cleaner.threads", INT, "1", "Threads that compact."),
    BrokerConfig(
        "log.cleanup.policy",
        LIST,
        "delete",
        "Default of the topic config cleanup.policy.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.dir",
        LIST,
        "/tmp/kafka-logs",
        "Directory of the logs; where data is, is the storage plugin's business.",
        here="",
    ),
    BrokerConfig(
        "log.dirs",
        LIST,
        None,
        "Directories of the logs; where data is, is the storage plugin's business.",
        here="",
    ),
    BrokerConfig(
        "log.flush.interval.messages",
        LONG,
        _FOREVER,
        "Default of the topic config flush.messages.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.flush.interval.ms",
        LONG,
        None,
        "Default of the topic config flush.ms.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.flush.scheduler.interval.ms",
        LONG,
        _FOREVER,
        "Default of the topic config flush.ms where log.flush.interval.ms is not set.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.index.interval.bytes",
        INT,
        "4096",
        "Default of the topic config index.interval.bytes.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.index.size.max.bytes",
        INT,
        "10485760",
        "Default of the topic config segment.index.bytes.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.local.retention.bytes",
        LONG,
        "-2",
        "Default of the topic config local.retention.bytes.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.local.retention.ms",
        LONG,
        "-2",
        "Default of the topic config local.retention.ms.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.message.timestamp.after.max.ms",
        LONG,
        "3600000",
        "Default of the topic config message.timestamp.after.max.ms.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.message.timestamp.before.max.ms",
        LONG,
        _FOREVER,
        "Default of the topic config message.timestamp.before.max.ms.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.message.timestamp.type",
        STRING,
        "CreateTime",
        "Default of the topic config message.timestamp.type.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.preallocate",
        BOOLEAN,
        "false",
        "Default of the topic config preallocate.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.remote.copy.lag.bytes",
        LONG,
        "-1",
        "Default of the topic config remote.copy.lag.bytes.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.remote.copy.lag.ms",
        LONG,
        "0",
        "Default of the topic config remote.copy.lag.ms.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.retention.bytes",
        LONG,
        "-1",
        "Default of the topic config retention.bytes.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.retention.check.interval.ms",
        LONG,
        "300000",
        "Time between looks for records that retention may drop.",
        setting="topics.retention_check_interval",
    ),
    BrokerConfig(
        "log.retention.hours",
        INT,
        "168",
        "Default of the topic config retention.ms, in hours, where the two finer ones are not set.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.retention.minutes",
        INT,
        None,
        "Default of the topic config retention.ms, in minutes, where log.retention.ms is not set.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.retention.ms", LONG, None, "Default of the topic config retention.ms.", setting="topics.defaults"
    ),
    BrokerConfig(
        "log.roll.hours",
        INT,
        "168",
        "Default of the topic config segment.ms, in hours, where log.roll.ms is not set.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.roll.jitter.hours",
        INT,
        "0",
        "Default of the topic config segment.jitter.ms, in hours, where log.roll.jitter.ms is not set.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.roll.jitter.ms",
        LONG,
        None,
        "Default of the topic config segment.jitter.ms.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.roll.ms", LONG, None, "Default of the topic config segment.ms.", setting="topics.defaults"
    ),
    BrokerConfig(
        "log.segment.bytes",
        INT,
        "1073741824",
        "Default of the topic config segment.bytes.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "log.segment.delete.delay.ms",
        LONG,
        "60000",
        "Default of the topic config file.delete.delay.ms.",
        setting="topics.defaults",
    ),
    BrokerConfig("max.connection.creation.rate", INT, "2147483647", "Most connections opened in a second."),
    BrokerConfig(
        "max.connections",
        INT,
        "2147483647",
        "Most connections open at once.",
        setting="limits.max_connections",
    ),
    BrokerConfig(
        "max.connections.per.ip",
        INT,
        "2147483647",
        "Most connections open at once from one address.",
        setting="limits.max_connections_per_address",
    ),
    BrokerConfig("max.connections.per.ip.overrides", STRING, "", "Addresses with a limit of their own."),
    BrokerConfig(
        "max.decompressed.message.bytes",
        INT,
        "2147483639",
        "Default of the topic config.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "max.incremental.fetch.session.cache.slots",
        INT,
        "1000",
        "Fetch sessions that are remembered at once.",
        setting="limits.max_fetch_sessions",
    ),
    BrokerConfig(
        "max.request.partition.size.limit", INT, "2000", "Most partitions in one request to describe them."
    ),
    BrokerConfig(
        "message.max.bytes",
        INT,
        "1048588",
        "Default of the topic config max.message.bytes.",
        setting="topics.defaults",
    ),
    BrokerConfig(
        "metric.reporters",
        LIST,
        "org.apache.kafka.common.metrics.JmxReporter",
        "Classes that metrics go to; there are no Java classes here.",
        here="",
    ),
    BrokerConfig("min.insync.replicas", INT, "1", "Default of the topic config.", setting="topics.defaults"),
    BrokerConfig("node.id", INT, None, "This gateway's id.", setting="node_id"),
    BrokerConfig("num.io.threads", INT, "8", "Threads that handle requests; the gateway has one event loop."),
    BrokerConfig(
        "num.network.threads",
        INT,
        "3",
        "Threads that read and write sockets; the gateway has one event loop.",
    ),
    BrokerConfig(
        "num.partitions",
        INT,
        "1",
        "Partitions of a topic where nobody says how many.",
        setting="topics.num_partitions",
    ),
    BrokerConfig("num.recovery.threads.per.data.dir", INT, "2", "Threads that check the logs at start."),
    BrokerConfig(
        "num.replica.fetchers",
        INT,
        "1",
        "Threads that copy from other brokers; the store replicates, if any.",
    ),
    BrokerConfig(
        "offset.metadata.max.bytes",
        INT,
        "4096",
        "Longest text that a client may commit with an offset.",
        setting="groups.offset_metadata_max_size",
    ),
    BrokerConfig(
        "offsets.commit.timeout.ms",
        INT,
        "5000",
        "How long members wait for what is written of their group.",
        setting="groups.commit_timeout",
    ),
    BrokerConfig("offsets.load.buffer.size", INT, "5242880", "Bytes read at once when a coordinator starts."),
    BrokerConfig(
        "offsets.retention.check.interval.ms",
        LONG,
        "600000",
        "Time between looks for committed offsets that have expired.",
        setting="groups.offsets_check_interval",
    ),
    BrokerConfig(
        "offsets.retention.minutes",
        INT,
        "10080",
        "Time for which the offsets of a group without members are kept.",
        setting="groups.offsets_retention",
    ),
    BrokerConfig("offsets.topic.compression.codec", INT, "0", "Codec of the offsets topic, as a number."),
    BrokerConfig("offsets.topic.num.partitions", INT, "50", "Partitions of the offsets topic.", here="1"),
    BrokerConfig("offsets.topic.replication.factor", SHORT, "3", "Replicas of the offsets topic.", here="1"),
    BrokerConfig("offsets.topic.segment.bytes", INT, "104857600", "Segment size of the offsets topic."),
    BrokerConfig(
        "process.roles", LIST, None, "What this process is in the cluster.", here="broker,controller"
    ),
    BrokerConfig(
        "producer.id.expiration.ms",
        INT,
        "86400000",
        "Time after which an idle producer's sequence numbers are forgotten.",
    ),
    BrokerConfig(
        "queued.max.request.bytes",
        LONG,
        "-1",
        "Most bytes of requests that are read and not yet answered.",
    ),
    BrokerConfig(
        "queued.max.requests",
        INT,
        "500",
        "Requests that wait for a thread before sockets are no longer read.",
    ),
    BrokerConfig(
        "replica.fetch.max.bytes", INT, "1048576", "Bytes that a follower fetches of a partition at once."
    ),
    BrokerConfig(
        "replica.lag.time.max.ms", LONG, "30000", "Time after which a follower that lags is out of sync."
    ),
    BrokerConfig(
        "replica.selector.class", STRING, None, "What chooses the replica that a consumer reads from."
    ),
    BrokerConfig("request.timeout.ms", INT, "30000", "How long a request of this broker to another waits."),
    BrokerConfig("sasl.enabled.mechanisms", LIST, "GSSAPI", "SASL mechanisms that clients may log in with."),
    BrokerConfig(
        "sasl.mechanism.inter.broker.protocol",
        STRING,
        "GSSAPI",
        "SASL mechanism that brokers use among themselves.",
    ),
    BrokerConfig("sasl.server.max.receive.size", INT, "524288", "Largest message of a client's login."),
    BrokerConfig(
        "security.inter.broker.protocol",
        STRING,
        "PLAINTEXT",
        "Security protocol that brokers use among themselves.",
    ),
    BrokerConfig(
        "socket.listen.backlog.size",
        INT,
        "50",
        "Connections that the kernel holds until they are accepted.",
    ),
    BrokerConfig(
        "socket.receive.buffer.bytes",
        INT,
        "102400",
        "Receive buffer of a socket; the gateway leaves it to the kernel.",
    ),
    BrokerConfig(
        "socket.request.max.bytes", INT, "104857600", "Largest request.", setting="limits.max_request_size"
    ),
    BrokerConfig(
        "socket.send.buffer.bytes",
        INT,
        "102400",
        "Send buffer of a socket; the gateway leaves it to the kernel.",
    ),
    BrokerConfig("ssl.cipher.suites", LIST, "", "Ciphers that TLS may use; empty is the library's choice."),
    BrokerConfig("ssl.client.auth", STRING, "none", "Whether a client must show a certificate."),
    BrokerConfig("ssl.enabled.protocols", LIST, "TLSv1.2,TLSv1.3", "TLS versions that are spoken."),
    BrokerConfig("ssl.key.password", PASSWORD, None, "Password of the private key; never shown."),
    BrokerConfig("ssl.keystore.location", STRING, None, "File of the certificate and its key."),
    BrokerConfig("ssl.keystore.password", PASSWORD, None, "Password of the key store; never shown."),
    BrokerConfig("ssl.keystore.type", STRING, "JKS", "Format of the key store."),
    BrokerConfig(
        "ssl.truststore.location", STRING, None, "File of the certificates that clients' are checked against."
    ),
    BrokerConfig("ssl.truststore.password", PASSWORD, None, "Password of the trust store; never shown."),
    BrokerConfig("ssl.truststore.type", STRING, "JKS", "Format of the trust store."),
    BrokerConfig(
        "transaction.abort.timed.out.transaction.cleanup.interval.ms",
        INT,
        "10000",
        "Time between looks for transactions that have timed out.",
    ),
    BrokerConfig(
        "transaction.max.timeout.ms", INT, "900000", "Longest timeout that a transaction may ask for."
    ),
    BrokerConfig(
        "transaction.partition.verification.enable",
        BOOLEAN,
        "true",
        "Whether a partition is checked to be part of the transaction that is written to it.",
    ),
    BrokerConfig(
        "transaction.remove.expired.transaction.cleanup.interval.ms",
        INT,
        "3600000",
        "Time between looks for transactional ids that have expired.",
    ),
    BrokerConfig(
        "transaction.state.log.min.isr",
        INT,
        "2",
        "Replicas that must have a change of a transaction.",
        here="1",
    ),
    BrokerConfig(
        "transaction.state.log.num.partitions",
        INT,
        "50",
        "Partitions of the topic that keeps transactions.",
        here="1",
    ),
    BrokerConfig(
        "transaction.state.log.replication.factor",
        SHORT,
        "3",
        "Replicas of the topic that keeps transactions.",
        here="1",
    ),
    BrokerConfig(
        "transaction.state.log.segment.bytes",
        INT,
        "104857600",
        "Segment size of the topic that keeps transactions.",
    ),
    BrokerConfig(
        "transactional.id.expiration.ms",
        INT,
        "604800000",
        "Time after which an idle transactional id is forgotten.",
    ),
    BrokerConfig(
        "unclean.leader.election.enable",
        BOOLEAN,
        "false",
        "Default of the topic config.",
        setting="topics.defaults",
    ),
)

BROKER_CONFIGS: dict[str, BrokerConfig] = {config.name: config for config in _TABLE}
"""Every broker config that is told of, by its name, in the order of names."""
