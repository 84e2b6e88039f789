// Uses kafkajs against a broker: main.js BOOTSTRAP SCENARIO [TOPIC [PARTITION...]]; "list" names the scenarios.
// kafkajs consumes in groups only (groups.js): what producers wrote is seen through admin.fetchTopicOffsets, and
// through the readers of other languages in the tests between clients.

const { randomBytes } = require("node:crypto");
const { isDeepStrictEqual } = require("node:util");
const { readFileSync } = require("node:fs");
const { CompressionTypes, Kafka, Partitioners, logLevel } = require("kafkajs");
const groups = require("./groups.js");

const START = 1_700_000_000_000;

class Check {
  constructor(bootstrap, scenario, topic, partitions) {
    this.bootstrap = bootstrap;
    this.scenario = scenario;
    this.failed = false;
    this.partitions = partitions.map(Number);
    this.topic = topic ?? this.name();
    this.kafka = new Kafka({
      clientId: "kgw-test",
      brokers: [bootstrap],
      retry: { retries: 3, initialRetryTime: 100 },
      logLevel: logLevel.NOTHING,
    });
  }

  name() {
    return `${this.scenario}-${randomBytes(4).toString("hex")}`;
  }

  equal(what, got, want) {
    const ok = isDeepStrictEqual(got, want);
    this.failed ||= !ok;
    emit(ok ? { check: what, ok } : { check: what, ok, got, want });
  }

  async fails(what, type, action) {
    let thrown;
    try {
      await action();
    } catch (error) {
      thrown = error;
    }
    const ok = thrown !== undefined && describe(thrown).includes(type);
    this.failed ||= !ok;
    emit(ok ? { check: what, ok } : { check: what, ok, got: thrown ? describe(thrown) : "nothing", want: type });
  }

  async admin(use) {
    const admin = this.kafka.admin();
    await admin.connect();
    try {
      return await use(admin);
    } finally {
      await admin.disconnect();
    }
  }

  async producer(settings, use) {
    const producer = this.kafka.producer({ createPartitioner: Partitioners.DefaultPartitioner, ...settings });
    await producer.connect();
    try {
      return await use(producer);
    } finally {
      await producer.disconnect();
    }
  }

  create(topic, numPartitions = 1, configEntries = []) {
    return this.admin((admin) => admin.createTopics({ topics: [{ topic, numPartitions, configEntries }] }));
  }

  /** For each partition its log's start and end. */
  async ends(topic) {
    const found = await this.admin((admin) => admin.fetchTopicOffsets(topic));
    return Object.fromEntries(found.map((one) => [one.partition, [one.low, one.high]]));
  }
}

function describe(error) {
  const inner = (error.errors ?? []).map((one) => `${one.type ?? one.name}: ${one.message}`);
  return [`${error.type ?? error.name}: ${error.message}`, error.cause ? describe(error.cause) : "", ...inner].join(" ");
}

function emit(line) {
  process.stdout.write(JSON.stringify(line) + "\n");
}

function values(prefix, count) {
  return Array.from({ length: count }, (_, i) => ({ value: `${prefix}${i}`, partition: 0 }));
}

async function producerPlain(check) {
  await check.create(check.topic, 2);
  await check.producer({}, async (producer) => {
    for (const acks of [-1, 1]) {
      const before = (await check.ends(check.topic))[0][1];
      const [sent] = await producer.send({ topic: check.topic, acks, messages: values("plain ", 50) });
      check.equal("error", sent.errorCode, 0);
      check.equal("base offset", sent.baseOffset, before);
      check.equal("partition", sent.partition, 0);
    }
    await producer.send({ topic: check.topic, acks: 0, messages: values("unanswered ", 10) });
    const [last] = await producer.send({ topic: check.topic, messages: values("after ", 1) });
    check.equal("acks 0 was written too", last.baseOffset, "110");
  });
  check.equal("ends", await check.ends(check.topic), { 0: ["0", "111"], 1: ["0", "0"] });
}

async function producerIdempotent(check) {
  await check.create(check.topic, 1);
  for (const round of [0, 1]) {
    await check.producer({ idempotent: true, maxInFlightRequests: 1 }, async (producer) => {
      for (let i = 0; i < 5; i++) {
        const [sent] = await producer.send({ topic: check.topic, messages: values("idempotent ", 20) });
        check.equal("base offset", sent.baseOffset, String(round * 100 + i * 20));
      }
    });
  }
  check.equal("ends", await check.ends(check.topic), { 0: ["0", "200"] });
}

async function producerGzip(check) {
  await check.create(check.topic, 1);
  await check.producer({}, async (producer) => {
    const [sent] = await producer.send({
      topic: check.topic,
      compression: CompressionTypes.GZIP,
      messages: values("again and again and again ", 500),
    });
    check.equal("base offset", sent.baseOffset, "0");
  });
  check.equal("ends", await check.ends(check.topic), { 0: ["0", "500"] });
}

async function producerKeys(check) {
  await check.create(check.topic, 4);
  let sent;
  await check.producer({}, async (producer) => {
    const messages = Array.from({ length: 200 }, (_, i) => ({ key: `key ${i}`, value: `value ${i}`, headers: { n: `${i}` } }));
    sent = await producer.sendBatch({ topicMessages: [{ topic: check.topic, messages }] });
  });
  check.equal("each partition was answered", sent.map((one) => one.partition).sort(), [0, 1, 2, 3]);
  const ends = await check.ends(check.topic);
  check.equal("all are there", Object.values(ends).reduce((sum, [, high]) => sum + Number(high), 0), 200);
}

async function producerTransactional(check) {
  await check.create(check.topic, 1);
  const began = Date.now();
  await check.producer({ idempotent: true, transactionalId: "tx", maxInFlightRequests: 1 }, async (producer) => {
    // kafkajs asks every broker for the coordinator and says no more than that none of them gave one
    await check.fails("transactions are refused", "KafkaJSGroupCoordinatorNotFound", () => producer.transaction());
  });
  check.equal("at once", Date.now() - began < 5000, true);
}

async function adminTopics(check) {
  const other = check.name();
  await check.admin(async (admin) => {
    const topics = [
      { topic: check.topic, numPartitions: 3, replicationFactor: 3, configEntries: [{ name: "retention.ms", value: "777" }] },
      { topic: other },
    ];
    check.equal("validated", await admin.createTopics({ topics, validateOnly: true, waitForLeaders: false }), true);
    check.equal("validating creates nothing", (await admin.listTopics()).includes(check.topic), false);
    check.equal("created", await admin.createTopics({ topics }), true);
    check.equal("created before", await admin.createTopics({ topics }), false);
    const listed = await admin.listTopics();
    check.equal("both are listed", listed.includes(check.topic) && listed.includes(other), true);
    await check.fails("a bad name", "INVALID_TOPIC_EXCEPTION", () => admin.createTopics({ topics: [{ topic: "no/such name" }] }));
    const described = await admin.fetchTopicMetadata({ topics: [check.topic] });
    check.equal("partitions", described.topics[0].partitions.map((one) => one.partitionId).sort(), [0, 1, 2]);
    check.equal("leaders", described.topics[0].partitions.map((one) => one.leader), [1, 1, 1]);
    const cluster = await admin.describeCluster();
    check.equal("brokers", cluster.brokers.map((one) => `${one.host}:${one.port}`), [check.bootstrap]);
    check.equal("controller", cluster.controller, cluster.brokers[0].nodeId);
    check.equal("cluster id", cluster.clusterId.length, 22);
    await admin.deleteTopics({ topics: [check.topic] });
    check.equal("it is gone", (await admin.listTopics()).includes(check.topic), false);
    await check.fails("deleting again", "UNKNOWN_TOPIC_OR_PARTITION", () => admin.deleteTopics({ topics: [check.topic] }));
  });
}

async function adminOffsets(check) {
  await check.create(check.topic, 2);
  await check.producer({}, async (producer) => {
    for (let batch = 0; batch < 3; batch++) {
      const messages = values("v", 10).map((one, i) => ({ ...one, timestamp: String(START + (batch * 10 + i) * 1000) }));
      await producer.send({ topic: check.topic, messages });
    }
  });
  check.equal("ends", await check.ends(check.topic), { 0: ["0", "30"], 1: ["0", "0"] });
  await check.admin(async (admin) => {
    for (const [at, want] of [[0, "0"], [13_000, "13"], [13_001, "14"], [29_001, "30"]]) {
      const found = await admin.fetchTopicOffsetsByTimestamp(check.topic, START + at);
      check.equal(`offset at ${at}, else the end`, found.find((one) => one.partition === 0).offset, want);
    }
  });
}

async function adminConfigs(check) {
  await check.create(check.topic, 1, [{ name: "retention.ms", value: "4242" }]);
  await check.admin(async (admin) => {
    const described = await admin.describeConfigs({
      includeSynonyms: true,
      resources: [{ type: 2, name: check.topic, configNames: ["retention.ms", "cleanup.policy"] }],
    });
    const found = described.resources[0].configEntries.map((one) => `${one.configName}=${one.configValue}`).sort();
    check.equal("configs", found, ["cleanup.policy=delete", "retention.ms=4242"]);
    await check.fails("a topic that is not there", "UNKNOWN_TOPIC_OR_PARTITION", () =>
      admin.describeConfigs({ resources: [{ type: 2, name: "not-there" }] }));
  });
}

async function write(check) {
  const compression = { none: CompressionTypes.None, gzip: CompressionTypes.GZIP };
  for (const part of JSON.parse(readFileSync(0, "utf8"))) {
    await check.producer({}, async (producer) => {
      const messages = part.records.map((one) => {
        const headers = {};
        for (const [key, value] of one.headers) headers[key] = key in headers ? [].concat(headers[key], value) : value;
        return { key: one.key, value: one.value, partition: part.partition, timestamp: String(one.timestamp), headers };
      });
      const [sent] = await producer.send({ topic: check.topic, compression: compression[part.codec], messages });
      check.equal("base offset", sent.baseOffset, "0");
    });
  }
}

const SCENARIOS = {
  "producer-plain": producerPlain,
  "producer-idempotent": producerIdempotent,
  "producer-gzip": producerGzip,
  "producer-keys": producerKeys,
  "producer-transactional": producerTransactional,
  "admin-topics": adminTopics,
  "admin-offsets": adminOffsets,
  "admin-configs": adminConfigs,
  group: groups.group,
  members: (check) => groups.members(check, emit),
  read: (check) => groups.read(check, emit),
  write,
};

async function main([bootstrap, scenario, topic, ...partitions]) {
  if (scenario === "list") {
    for (const name of Object.keys(SCENARIOS)) emit({ scenario: name });
    return 0;
  }
  if (!(scenario in SCENARIOS)) {
    console.error(`there is no scenario ${scenario}`);
    return 2;
  }
  const check = new Check(bootstrap, scenario, topic, partitions);
  try {
    await SCENARIOS[scenario](check);
  } catch (error) {
    console.error(error);
    check.failed = true;
  }
  return check.failed ? 1 : 0;
}

main(process.argv.slice(2)).then((status) => {
  process.exitCode = status;
});
