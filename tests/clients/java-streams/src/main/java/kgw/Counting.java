package kgw;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.kstream.KStream;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.Produced;
import org.apache.kafka.streams.kstream.SessionWindows;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.state.Stores;

/** Counts by key: a repartition topic, a changelog that is compacted, a restart that restores from it. */
final class Counting {
    private static final int PARTITIONS = 3;
    private static final String[] WORDS = {"all", "streams", "lead", "to", "kafka"};

    private Counting() {}

    static Topology words(String from, String to) {
        StreamsBuilder builder = new StreamsBuilder();
        KStream<String, String> lines = builder.stream(from);
        lines.flatMapValues(line -> Arrays.asList(line.split(" ")))
                .groupBy((key, word) -> word)
                .count(Materialized.<String, Long>as(Stores.inMemoryKeyValueStore("counts"))
                        .withKeySerde(Serdes.String())
                        .withValueSerde(Serdes.Long()))
                .toStream()
                .to(to, Produced.with(Serdes.String(), Serdes.Long()));
        return builder.build();
    }

    /** Lines of three words each, over all partitions; what they add is added to counts. */
    static List<ProducerRecord<String, String>> lines(String topic, int count, Map<String, Long> counts) {
        List<ProducerRecord<String, String>> lines = new ArrayList<>();
        for (int number = 0; number < count; number++) {
            String[] words = new String[3];
            for (int place = 0; place < words.length; place++) {
                words[place] = WORDS[(number * 7 + place * 3) % WORDS.length];
                counts.merge(words[place], 1L, Long::sum);
            }
            lines.add(new ProducerRecord<>(topic, number % PARTITIONS, null, String.join(" ", words)));
        }
        return lines;
    }

    static void words(Check check) throws Exception {
        String from = check.topic + "-in";
        String to = check.topic + "-out";
        String repartition = check.topic + "-counts-repartition";
        String changelog = check.topic + "-counts-changelog";
        Topics.create(check, PARTITIONS, from, to);
        Map<String, Long> counts = new HashMap<>();
        Topology topology = words(from, to);
        Map<String, Object> threads = Map.of("num.stream.threads", 2);

        Topics.write(check, lines(from, 1000, counts));
        try (App app = new App(check, check.topic, topology, threads).start()) {
            Topics.becomes(check, "counts", to, new LongDeserializer(), counts);
            check.equal("nothing was there to restore", app.restored.get(), 0L);
        }
        check.equal("cleanup.policy of the changelog", policy(check, changelog), "compact");
        check.equal(
                "min.compaction.lag.ms of the changelog",
                Topics.config(check, changelog).get("min.compaction.lag.ms").value(),
                "3600000");
        check.equal("cleanup.policy of the repartition topic", policy(check, repartition), "delete");
        check.equal(
                "retention.ms of the repartition topic",
                Topics.config(check, repartition).get("retention.ms").value(),
                "-1");
        check.equal("the changelog", Topics.latest(check, changelog, new LongDeserializer()), counts);
        long written = Topics.all(check, to).size();
        check.equal("every count was forwarded once", written, 3000L);

        Topics.write(check, lines(from, 500, counts));
        try (App app = new App(check, check.topic, topology, threads).start()) {
            Topics.becomes(check, "counts after a restart", to, new LongDeserializer(), counts);
            check.equal("records that were restored", app.restored.get(), 3000L);
        }
        purged(check, repartition);
        try (Admin admin = Topics.admin(check)) {
            Set<String> topics = Check.get(admin.listTopics().names());
            topics.removeIf(name -> !name.startsWith(check.topic));
            check.equal("topics", topics, Set.of(from, to, repartition, changelog));
            var offsets = Check.get(admin.listConsumerGroupOffsets(check.topic).partitionsToOffsetAndMetadata());
            check.equal("partitions with a committed offset", offsets.size(), 2 * PARTITIONS);
        }
    }

    /** Streams deletes from a repartition topic what it has committed. */
    private static void purged(Check check, String repartition) {
        long left = Topics.all(check, repartition).size();
        check.isTrue("less is left in the repartition topic than the 4500 that went through", left < 4500, left);
    }

    private static String policy(Check check, String topic) throws Exception {
        return Topics.config(check, topic).get("cleanup.policy").value();
    }

    /** Windows of time, and of sessions: changelogs that are compacted and expire. */
    static void windows(Check check) throws Exception {
        String from = check.topic + "-in";
        String tumbling = check.topic + "-tumbling";
        String sessions = check.topic + "-sessions";
        Topics.create(check, PARTITIONS, from, tumbling, sessions);
        StreamsBuilder builder = new StreamsBuilder();
        var grouped = builder.<String, String>stream(from).groupByKey();
        Duration ten = Duration.ofSeconds(10);
        Duration day = Duration.ofDays(1);
        grouped.windowedBy(TimeWindows.ofSizeAndGrace(ten, day))
                .count(Materialized.<String, Long>as(
                                Stores.inMemoryWindowStore("tumbling", day.plus(ten), ten, false))
                        .withValueSerde(Serdes.Long()))
                .toStream((key, count) -> key.key() + "@" + key.window().start())
                .to(tumbling, Produced.with(Serdes.String(), Serdes.Long()));
        grouped.windowedBy(SessionWindows.ofInactivityGapAndGrace(Duration.ofSeconds(3), day))
                .count(Materialized.<String, Long>as(
                                Stores.inMemorySessionStore("sessions", day.plus(ten)))
                        .withValueSerde(Serdes.Long()))
                .toStream((key, count) -> key.key() + "@" + key.window().start() + "-" + key.window().end())
                .to(sessions, Produced.with(Serdes.String(), Serdes.Long()));
        Topology topology = builder.build();

        long now = System.currentTimeMillis() / 10_000 * 10_000 - 3_600_000;
        Map<String, Long> wantTumbling = new HashMap<>();
        Map<String, Long> wantSessions = new HashMap<>();
        List<ProducerRecord<String, String>> records = new ArrayList<>();
        for (String key : List.of("a", "b", "c", "d")) {
            for (int second = 0; second < 30; second++) {
                if (second % 10 < 5) { // five seconds of records, then a gap
                    records.add(new ProducerRecord<>(from, null, now + second * 1000L, key, "x"));
                    wantTumbling.merge(key + "@" + (now + second / 10 * 10_000L), 1L, Long::sum);
                }
            }
            for (int start = 0; start < 30; start += 10) {
                long first = now + start * 1000L;
                wantSessions.put(key + "@" + first + "-" + (first + 4000), 5L);
            }
        }
        Topics.write(check, records);
        try (App app = new App(check, check.topic, topology, Map.of()).start()) {
            Topics.becomes(check, "tumbling windows", tumbling, new LongDeserializer(), wantTumbling);
            Topics.becomes(check, "sessions", sessions, new LongDeserializer(), wantSessions);
        }
        for (String store : List.of("tumbling", "sessions")) {
            var config = Topics.config(check, check.topic + "-" + store + "-changelog");
            Set<String> policies = Set.of(config.get("cleanup.policy").value().split(","));
            check.equal("cleanup.policy of " + store, policies, Set.of("compact", "delete"));
            long kept = Long.parseLong(config.get("retention.ms").value());
            check.isTrue("retention.ms of " + store, kept >= day.toMillis(), kept);
        }

        // The same windows again, once more a record each: a new instance has to know what the first counted.
        records.clear();
        for (String key : List.of("a", "b", "c", "d")) {
            records.add(new ProducerRecord<>(from, null, now + 2000, key, "late"));
            wantTumbling.merge(key + "@" + now, 1L, Long::sum);
            wantSessions.merge(key + "@" + now + "-" + (now + 4000), 1L, Long::sum);
        }
        Topics.write(check, records);
        try (App app = new App(check, check.topic, topology, Map.of()).start()) {
            Topics.becomes(check, "late records after a restart", tumbling, new LongDeserializer(), wantTumbling);
            Topics.becomes(check, "late records in sessions", sessions, new LongDeserializer(), wantSessions);
            check.isTrue("stores were restored", app.restored.get() > 0, app.restored.get());
        }
    }
}
