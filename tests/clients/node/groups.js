// Consumers of kafkajs, which are always in a group: "read", "group", "members", and the admin's calls of groups.

const { createInterface } = require("node:readline");

/** Runs a consumer until `enough` messages came; gives them with their partitions. */
async function take(check, groupId, topic, count, partitions) {
  const consumer = check.kafka.consumer({ groupId, heartbeatInterval: 200, maxWaitTimeInMs: 100 });
  await consumer.connect();
  await consumer.subscribe({ topics: [topic], fromBeginning: true });
  const got = [];
  await new Promise((resolve, reject) => {
    consumer.on(consumer.events.CRASH, ({ payload }) => reject(payload.error));
    consumer.on(consumer.events.GROUP_JOIN, () => {
      const all = Object.keys(partitions.others ?? {}).map(Number);
      if (all.length > 0) consumer.pause([{ topic, partitions: all }]);
    });
    consumer
      .run({
        autoCommit: false,
        eachMessage: async ({ partition, message }) => {
          if (got.length === count) return;
          got.push({ partition, message });
          await consumer.commitOffsets([{ topic, partition, offset: String(Number(message.offset) + 1), metadata: "a note" }]);
          if (got.length === count) resolve();
        },
      })
      .catch(reject);
  });
  await consumer.disconnect();
  return got;
}

/** Reads the named partitions, in order; kafkajs knows not every codec that there is in the others. */
async function read(check, emit) {
  const ends = await check.ends(check.topic);
  const others = Object.fromEntries(Object.entries(ends).filter(([one]) => !check.partitions.includes(Number(one))));
  const count = check.partitions.reduce((sum, one) => sum + Number(ends[one][1]), 0);
  const got = await take(check, `${check.topic}-${check.name()}`, check.topic, count, { others });
  got.sort((a, b) => a.partition - b.partition || Number(a.message.offset) - Number(b.message.offset));
  for (const { partition, message } of got) {
    const headers = Object.entries(message.headers ?? {}).flatMap(([key, all]) => [].concat(all).map((one) => [key, String(one)]));
    emit({
      partition,
      offset: Number(message.offset),
      timestamp: Number(message.timestamp),
      key: message.key === null ? null : String(message.key),
      value: message.value === null ? null : String(message.value),
      headers,
    });
  }
}

async function group(check) {
  await check.create(check.topic, 1);
  const values = Array.from({ length: 30 }, (_, i) => `v${i}`);
  await check.producer({}, (producer) =>
    producer.send({ topic: check.topic, messages: values.map((value) => ({ value, partition: 0 })) }));
  for (const part of [values.slice(0, 12), values.slice(12)]) {
    const got = await take(check, check.topic, check.topic, part.length, {});
    check.equal("values", got.map((one) => String(one.message.value)), part);
  }
  await check.admin(async (admin) => {
    const committed = async () => (await admin.fetchOffsets({ groupId: check.topic, topics: [check.topic] }))[0].partitions;
    check.equal("committed", await committed(), [{ partition: 0, offset: "30", metadata: "a note" }]);
    check.equal("listed", (await admin.listGroups()).groups.some((one) => one.groupId === check.topic), true);
    const described = await admin.describeGroups([check.topic]);
    check.equal("state", described.groups[0].state, "Empty");
    await admin.setOffsets({ groupId: check.topic, topic: check.topic, partitions: [{ partition: 0, offset: "7" }] });
    check.equal("set", (await committed())[0].offset, "7");
    await admin.resetOffsets({ groupId: check.topic, topic: check.topic, earliest: true });
    check.equal("reset to the earliest, as kafkajs says it", (await committed())[0].offset, "-2");
    const [resolved] = await admin.fetchOffsets({ groupId: check.topic, topics: [check.topic], resolveOffsets: true });
    check.equal("where that is", resolved.partitions[0].offset, "0");
    const deleted = await admin.deleteGroups([check.topic]);
    check.equal("deleted", deleted.map((one) => one.errorCode ?? 0), [0]);
    const again = await admin.deleteGroups([check.topic]).catch((error) => error.groups);
    check.equal("deleting again", again[0].error.type, "GROUP_ID_NOT_FOUND");
  });
}

/** One member; it tells what it has and what it gets. The generation is known from its first heartbeat on. */
async function startMember(check, emit, order) {
  const consumer = check.kafka.consumer({
    groupId: order.group,
    sessionTimeout: order.session,
    rebalanceTimeout: 10_000,
    heartbeatInterval: order.heartbeat,
    maxWaitTimeInMs: 100,
  });
  let generation = -1;
  let last = -1;
  let waiting = []; // what came while the generation was not known
  let assigned = [];
  const tell = (line) => emit({ member: order.start, ...line });
  consumer.on(consumer.events.GROUP_JOIN, ({ payload }) => {
    for (const seen of waiting) tell({ generation: -1, seen });
    waiting = [];
    generation = -1;
    assigned = payload.memberAssignment[order.topic] ?? [];
    tell({ generation, assigned });
  });
  consumer.on(consumer.events.REBALANCING, () => {
    generation = -1;
    assigned = [];
    tell({ generation, assigned });
  });
  consumer.on(consumer.events.HEARTBEAT, ({ payload }) => {
    if (generation !== -1 || payload.groupGenerationId <= last) return;
    last = generation = payload.groupGenerationId;
    tell({ generation, assigned });
    for (const seen of waiting) tell({ generation, seen });
    waiting = [];
  });
  await consumer.connect();
  await consumer.subscribe({ topics: [order.topic], fromBeginning: true });
  await consumer.run({
    autoCommit: false,
    eachBatch: async ({ batch, heartbeat, isStale, isRunning }) => {
      if (isStale() || !isRunning()) return;
      const seen = batch.messages.map((one) => [batch.partition, Number(one.offset)]);
      if (generation === -1) {
        waiting.push(seen);
        tell({ generation, seen: [] });
      } else tell({ generation, seen });
      await consumer
        .commitOffsets([{ topic: batch.topic, partition: batch.partition, offset: String(Number(batch.lastOffset()) + 1) }])
        .catch(() => {}); // the next owner sees them again
      await heartbeat();
    },
  });
  return async () => {
    await consumer.disconnect();
    for (const seen of waiting) tell({ generation: -1, seen });
    tell({ stopped: true });
  };
}

/** Starts and stops members as standard input orders it, and stops them all at its end. */
async function members(check, emit) {
  const running = new Map();
  for await (const line of createInterface({ input: process.stdin })) {
    const order = JSON.parse(line);
    if (order.start) {
      running.set(order.start, startMember(check, emit, order).catch((error) => {
        emit({ member: order.start, stopped: true, error: String(error) });
        return async () => {};
      }));
    } else {
      running.get(order.stop).then((stop) => stop());
      running.delete(order.stop);
    }
  }
  await Promise.all([...running.values()].map(async (one) => (await one)()));
}

module.exports = { group, members, read };
