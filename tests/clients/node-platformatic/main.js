// Uses @platformatic/kafka against a broker: main.js BOOTSTRAP SCENARIO; "list" names the scenarios.

import { randomBytes } from "node:crypto";
import { once } from "node:events";
import { isDeepStrictEqual } from "node:util";
import {
  Admin,
  Consumer,
  ListOffsetTimestamps,
  MessagesStreamModes,
  Producer,
  stringDeserializers,
  stringSerializers,
} from "@platformatic/kafka";

const START = 1_700_000_000_000n;
const TOPIC = 2; // the type of a config's resource
const SET = 0;

function emit(line) {
  console.log(JSON.stringify(line, (_, value) => (typeof value === "bigint" ? `${value}` : value)));
}

class Check {
  constructor(bootstrap, scenario) {
    this.scenario = scenario;
    this.failed = false;
    this.topic = this.name();
    this.options = { clientId: "kgw-test", bootstrapBrokers: [bootstrap], retries: 5, retryDelay: 100 };
    this.admin = new Admin(this.options);
  }

  name() {
    return `${this.scenario}-${randomBytes(4).toString("hex")}`;
  }

  producer(settings) {
    return new Producer({ ...this.options, serializers: stringSerializers, ...settings });
  }

  consumer(groupId, settings) {
    const quick = { sessionTimeout: 10_000, heartbeatInterval: 200, maxWaitTime: 200 };
    return new Consumer({ ...this.options, groupId, deserializers: stringDeserializers, ...quick, ...settings });
  }

  async created(partitions = 1) {
    await this.admin.createTopics({ topics: [this.topic], partitions, replicas: 1 });
  }

  async all(settings) {
    const consumer = this.consumer(this.name(), settings);
    const ends = (await consumer.listOffsets({ topics: [this.topic] })).get(this.topic);
    const wanted = ends.reduce((sum, end) => sum + Number(end), 0);
    const stream = await consumer.consume({ topics: [this.topic], mode: MessagesStreamModes.EARLIEST, ...settings });
    return [await take(stream, wanted), ends];
  }

  equal(what, got, want) {
    const ok = isDeepStrictEqual(got, want);
    this.failed ||= !ok;
    emit(ok ? { check: what, ok } : { check: what, ok, got, want });
  }

  async fails(what, code, action) {
    let thrown;
    try {
      await action();
    } catch (error) {
      thrown = error;
    }
    const ok = thrown !== undefined && codes(thrown).includes(code);
    this.failed ||= !ok;
    emit(ok ? { check: what, ok } : { check: what, ok, got: thrown ? codes(thrown) : "nothing", want: code });
  }
}

/** The broker's error codes in an exception, which may hold others. */
function codes(error) {
  return [error.apiId ?? error.message, ...(error.errors ?? []).flatMap(codes), ...(error.cause ? codes(error.cause) : [])];
}

/** The next messages of a stream; it is closed then. */
async function take(stream, count) {
  const found = [];
  if (count > 0) {
    for await (const message of stream) {
      found.push(message);
      if (found.length === count) break;
    }
  }
  await stream.close();
  return found;
}

const plain = (message) => ({
  key: message.key,
  value: message.value ?? null,
  partition: message.partition,
  offset: message.offset,
  timestamp: message.timestamp,
  headers: Object.fromEntries(message.headers),
});

const scenarios = {
  async "produce-consume"(check) {
    await check.created(3);
    const producer = check.producer({});
    const want = [];
    for (const acks of [-1, 1]) {
      for (let partition = 0; partition < 3; partition++) {
        const messages = Array.from({ length: 20 }, (_, number) => ({
          topic: check.topic,
          partition,
          key: number % 5 ? `key-${number}` : undefined,
          value: number % 7 ? `value ${number} of acks ${acks}` : null,
          headers: { number: `${number}` },
          timestamp: START + BigInt(number),
        }));
        const answer = await producer.send({ messages, acks });
        const base = acks === -1 ? 0n : 20n;
        check.equal(`acks ${acks} to partition ${partition}`, answer.offsets, [
          { topic: check.topic, partition, offset: base },
        ]);
        messages.forEach((message, number) =>
          want.push({
            key: message.key,
            value: message.value,
            partition,
            offset: base + BigInt(number),
            timestamp: message.timestamp,
            headers: message.headers,
          }),
        );
      }
    }
    const [found, ends] = await check.all();
    const order = (one, other) => one.partition - other.partition || Number(one.offset - other.offset);
    check.equal("what was written is read", found.map(plain).sort(order), want.sort(order));
    check.equal("ends", ends, [40n, 40n, 40n]);
    const late = await check.consumer(check.name()).listOffsetsWithTimestamps({
      topics: [check.topic],
      timestamp: START + 7n,
    });
    check.equal("offset by time", late.get(check.topic).get(0), { offset: 7n, timestamp: START + 7n });
  },

  async codecs(check) {
    await check.created();
    const want = [];
    for (const compression of ["none", "gzip"]) {
      const values = Array.from({ length: 200 }, (_, number) => `${compression} ${number} ${"x".repeat(100)}`);
      const messages = values.map((value) => ({ topic: check.topic, value }));
      await check.producer({ compression }).send({ messages });
      want.push(...values);
    }
    const [found] = await check.all();
    check.equal("values", found.map((message) => message.value), want);
  },

  async idempotent(check) {
    await check.created();
    const producer = check.producer({ idempotent: true, acks: -1 });
    for (let round = 0; round < 20; round++) {
      await producer.send({ messages: [{ topic: check.topic, value: `${round}` }] });
    }
    const [found] = await check.all();
    check.equal("values", found.map((message) => Number(message.value)), [...Array(20).keys()]);
  },

  async "acks-0"(check) {
    await check.created();
    const producer = check.producer({ acks: 0 });
    for (let round = 0; round < 20; round++) {
      await producer.send({ messages: [{ topic: check.topic, value: `${round}` }] });
    }
    const consumer = check.consumer(check.name());
    const stream = await consumer.consume({ topics: [check.topic], mode: MessagesStreamModes.EARLIEST });
    const found = await take(stream, 20);
    check.equal("values", found.map((message) => Number(message.value)), [...Array(20).keys()]);
  },

  async "creates-topic"(check) {
    await check.producer({ autocreateTopics: true }).send({ messages: [{ topic: check.topic, value: "first" }] });
    check.equal("created", (await check.admin.listTopics()).includes(check.topic), true);
    await check.fails("a name that is not allowed", "INVALID_TOPIC_EXCEPTION", () =>
      check.producer({ retries: 0 }).send({ messages: [{ topic: "no/name", value: "x" }] }),
    );
  },

  async group(check) {
    await check.created(6);
    const producer = check.producer({});
    const send = (from, to) =>
      producer.send({
        messages: Array.from({ length: to - from }, (_, at) => ({
          topic: check.topic,
          partition: (from + at) % 6,
          value: `${from + at}`,
        })),
      });
    await send(0, 60);
    const group = check.name();
    const first = check.consumer(group);
    const seen = [];
    const began = await first.consume({
      topics: [check.topic],
      mode: MessagesStreamModes.COMMITTED,
      fallbackMode: "earliest",
      autocommit: true,
    });
    began.on("data", (message) => seen.push(Number(message.value)));
    await until("the first sees all", () => seen.length === 60);
    const second = check.consumer(group);
    const rejoined = once(first, "consumer:group:join");
    const other = await second.consume({
      topics: [check.topic],
      mode: MessagesStreamModes.COMMITTED,
      fallbackMode: "earliest",
      autocommit: true,
    });
    const others = [];
    other.on("data", (message) => others.push(Number(message.value)));
    await rejoined;
    const parts = (consumer) => consumer.assignments.flatMap((one) => one.partitions);
    check.equal("partitions of both", [...parts(first), ...parts(second)].sort(), [0, 1, 2, 3, 4, 5]);
    const described = (await check.admin.describeGroups({ groups: [group] })).get(group);
    check.equal("members", [described.state, described.members.size], ["STABLE", 2]);
    await send(60, 120);
    await until("both see the rest", () => new Set([...seen, ...others]).size === 120);
    await second.close(true);
    await until("the first has all again", () => parts(first).length === 6);
    await send(120, 150);
    await until("the first sees the last", () => new Set([...seen, ...others]).size === 150);
    const lag = await first.getLag({ topics: [check.topic] });
    check.equal("lag", lag.get(check.topic), Array(6).fill(0n));
    await first.close(true);
    const [offsets] = await check.admin.listConsumerGroupOffsets({ groups: [group] });
    check.equal(
      "committed",
      offsets.topics.flatMap((one) => one.partitions.map((part) => part.committedOffset)),
      Array(6).fill(25n),
    );
    check.equal("listed", (await check.admin.listGroups()).get(group)?.state, "EMPTY");
    await check.admin.alterConsumerGroupOffsets({
      groupId: group,
      topics: [{ name: check.topic, partitionOffsets: [{ partition: 0, offset: 3n }] }],
    });
    const [altered] = await check.admin.listConsumerGroupOffsets({
      groups: [{ groupId: group, topics: [{ name: check.topic, partitionIndexes: [0] }] }],
    });
    check.equal("altered", altered.topics[0].partitions[0].committedOffset, 3n);
    await check.admin.deleteConsumerGroupOffsets({
      groupId: group,
      topics: [{ name: check.topic, partitionIndexes: [1] }],
    });
    await check.admin.deleteGroups({ groups: [group] });
    check.equal("deleted", (await check.admin.listGroups()).has(group), false);
  },

  async admin(check) {
    const [created] = await check.admin.createTopics({
      topics: [check.topic],
      partitions: 2,
      replicas: 1,
      configs: [{ name: "retention.ms", value: "123456" }],
    });
    check.equal("created", [created.name, created.partitions, created.replicas], [check.topic, 2, 1]);
    check.equal("its config", created.configuration["retention.ms"], "123456");
    const { topics, brokers, controllerId } = await check.admin.metadata({ topics: [check.topic] });
    check.equal("id", topics.get(check.topic).id, created.id);
    check.equal("controller", brokers.has(controllerId), true);
    await check.fails("created again", "TOPIC_ALREADY_EXISTS", () => check.created());
    await check.admin.createPartitions({ topics: [{ name: check.topic, count: 4, assignments: null }] });
    const after = await check.admin.metadata({ topics: [check.topic], forceUpdate: true });
    check.equal("partitions", after.topics.get(check.topic).partitionsCount, 4);
    const resource = { resourceType: TOPIC, resourceName: check.topic };
    await check.admin.incrementalAlterConfigs({
      resources: [{ ...resource, configs: [{ name: "max.message.bytes", configOperation: SET, value: "2000" }] }],
    });
    const config = async () =>
      Object.fromEntries(
        (await check.admin.describeConfigs({ resources: [{ ...resource, configurationKeys: null }] }))[0].configs.map(
          (one) => [one.name, one.value],
        ),
      );
    check.equal("altered", (await config())["max.message.bytes"], "2000");
    await check.admin.alterConfigs({ resources: [{ ...resource, configs: [{ name: "retention.ms", value: "7" }] }] });
    const replaced = await config();
    check.equal("replaced", [replaced["retention.ms"], replaced["max.message.bytes"]], ["7", "1048588"]);
    const messages = Array.from({ length: 10 }, (_, at) => ({ topic: check.topic, partition: 1, value: `${at}` }));
    await check.producer({}).send({ messages });
    const [offsets] = await check.admin.listOffsets({
      topics: [{ name: check.topic, partitions: [{ partitionIndex: 1, timestamp: ListOffsetTimestamps.LATEST }] }],
    });
    check.equal("listOffsets", offsets.partitions[0].offset, 10n);
    const [deleted] = await check.admin.deleteRecords({
      topics: [{ name: check.topic, partitions: [{ partition: 1, offset: 4n }] }],
    });
    check.equal("deleteRecords", deleted.partitions, [{ partition: 1, lowWatermark: 4n }]);
    const logs = await check.admin.describeLogDirs({ topics: [{ name: check.topic, partitions: [1] }] });
    check.equal("describeLogDirs", logs[0].results[0].topics[0].partitions[0].partitionIndex, 1);
    const [coordinator] = await check.admin.findCoordinator({ keyType: 0, keys: [check.name()] });
    check.equal("findCoordinator", brokers.has(coordinator.nodeId), true);
    await check.admin.deleteTopics({ topics: [check.topic] });
    check.equal("deleted", (await check.admin.listTopics()).includes(check.topic), false);
  },

  async transactional(check) {
    const producer = check.producer({ transactionalId: check.topic, idempotent: true, retries: 0 });
    await check.fails("a transaction is refused", "TRANSACTIONAL_ID_AUTHORIZATION_FAILED", () =>
      producer.beginTransaction(),
    );
  },
};

async function until(what, so) {
  const end = Date.now() + 30_000;
  while (!so()) {
    if (Date.now() > end) throw new Error(`not within 30 s: ${what}`);
    await new Promise((done) => setTimeout(done, 20));
  }
}

const [bootstrap, name] = process.argv.slice(2);
if (name === "list") {
  Object.keys(scenarios).forEach((scenario) => emit({ scenario }));
} else {
  const check = new Check(bootstrap, name);
  try {
    await scenarios[name](check);
  } catch (error) {
    console.error(error);
    check.equal("the scenario ends without an exception", `${error} ${codes(error)}`, undefined);
  }
  process.exit(check.failed ? 1 : 0);
}
