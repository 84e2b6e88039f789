package kgw;

import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Set;
import java.util.concurrent.CompletableFuture;
import java.util.regex.Pattern;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.consumer.OffsetOutOfRangeException;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** KafkaConsumer: assign, seek, offsets by time; subscribe and commit. */
final class Consuming {
    static final long START = 1_700_000_000_000L;

    private Consuming() {}

    static KafkaConsumer<String, String> consumer(Check check, String... settings) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", check.bootstrap);
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "none");
        properties.put("default.api.timeout.ms", "20000");
        properties.put("fetch.max.wait.ms", "100");
        for (int i = 0; i < settings.length; i += 2) {
            properties.put(settings[i], settings[i + 1]);
        }
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    /** Polls until there are so many records, or 20 seconds are over. */
    static List<ConsumerRecord<String, String>> poll(KafkaConsumer<String, String> consumer, int count) {
        List<ConsumerRecord<String, String>> found = new ArrayList<>();
        long until = System.nanoTime() + 20_000_000_000L;
        while (found.size() < count && System.nanoTime() < until) {
            consumer.poll(Duration.ofMillis(200)).forEach(found::add);
        }
        return found;
    }

    static List<ConsumerRecord<String, String>> all(Check check, String topic, int partition, long from, int count) {
        var tp = new TopicPartition(topic, partition);
        try (var consumer = consumer(check)) {
            consumer.assign(List.of(tp));
            consumer.seek(tp, from);
            return poll(consumer, count);
        }
    }

    static List<String> texts(Collection<ConsumerRecord<String, String>> records) {
        return records.stream().map(ConsumerRecord::value).toList();
    }

    static List<Long> offsets(Collection<ConsumerRecord<String, String>> records) {
        return records.stream().map(ConsumerRecord::offset).toList();
    }

    static List<Long> counting(long first, long end) {
        List<Long> all = new ArrayList<>();
        for (long i = first; i < end; i++) {
            all.add(i);
        }
        return all;
    }

    /** Batches of ten records, a second apart, "v0", "v1" … */
    static void fill(Check check, String topic, int partition, int batches) throws Exception {
        try (KafkaProducer<String, String> producer = Producing.producer(check, "linger.ms", "5000")) {
            for (int batch = 0; batch < batches; batch++) {
                for (int i = batch * 10; i < batch * 10 + 10; i++) {
                    producer.send(new ProducerRecord<>(topic, partition, START + i * 1000L, "k" + i, "v" + i));
                }
                producer.flush();
            }
        }
    }

    static void seek(Check check) throws Exception {
        Admins.create(check, check.topic, 1);
        fill(check, check.topic, 0, 5);
        var tp = new TopicPartition(check.topic, 0);
        List<String> values = Producing.values("v", 50);
        try (var consumer = consumer(check)) {
            consumer.assign(List.of(tp));
            for (int from : List.of(0, 1, 9, 10, 25, 49, 3)) {
                consumer.seek(tp, from);
                var got = poll(consumer, 50 - from);
                check.equal("values from " + from, texts(got), values.subList(from, 50));
                check.equal("offsets from " + from, offsets(got), counting(from, 50));
                check.equal("position", consumer.position(tp), 50L);
            }
            consumer.seekToBeginning(List.of(tp));
            check.equal("position at the beginning", consumer.position(tp), 0L);
            consumer.seekToEnd(List.of(tp));
            check.equal("position at the end", consumer.position(tp), 50L);
            check.equal("nothing there", consumer.poll(Duration.ofMillis(300)).count(), 0);
            check.equal("lag", consumer.currentLag(tp).getAsLong(), 0L);
        }
    }

    static void times(Check check) throws Exception {
        Admins.create(check, check.topic, 2);
        fill(check, check.topic, 0, 3);
        var tp = new TopicPartition(check.topic, 0);
        var empty = new TopicPartition(check.topic, 1);
        try (var consumer = consumer(check)) {
            long[][] cases = {{START - 1, 0}, {START, 0}, {START + 13_000, 13}, {START + 13_001, 14}, {START + 29_000, 29}};
            for (long[] one : cases) {
                var found = consumer.offsetsForTimes(Map.of(tp, one[0], empty, one[0]));
                check.equal("offset at " + (one[0] - START), found.get(tp).offset(), one[1]);
                check.equal("its time", found.get(tp).timestamp(), START + one[1] * 1000);
                check.equal("leader epoch", found.get(tp).leaderEpoch().get(), 0);
                check.equal("none in an empty log", found.get(empty), null);
            }
            check.equal("none after the last", consumer.offsetsForTimes(Map.of(tp, START + 29_001)).get(tp), null);
        }
    }

    static void ends(Check check) throws Exception {
        Admins.create(check, check.topic, 3);
        fill(check, check.topic, 0, 1);
        fill(check, check.topic, 2, 2);
        List<TopicPartition> tps = List.of(
                new TopicPartition(check.topic, 0), new TopicPartition(check.topic, 1), new TopicPartition(check.topic, 2));
        try (var consumer = consumer(check)) {
            check.equal("beginnings", consumer.beginningOffsets(tps), Map.of(tps.get(0), 0L, tps.get(1), 0L, tps.get(2), 0L));
            check.equal("ends", consumer.endOffsets(tps), Map.of(tps.get(0), 10L, tps.get(1), 0L, tps.get(2), 20L));
            check.equal("partitions", consumer.partitionsFor(check.topic).size(), 3);
            check.isTrue("the topic is listed", consumer.listTopics().containsKey(check.topic), "not listed");
        }
    }

    static void waits(Check check) throws Exception {
        Admins.create(check, check.topic, 1);
        var tp = new TopicPartition(check.topic, 0);
        try (var consumer = consumer(check, "fetch.max.wait.ms", "4000"); var producer = Producing.producer(check)) {
            consumer.assign(List.of(tp));
            consumer.seek(tp, 0);
            check.equal("nothing yet", consumer.poll(Duration.ofMillis(200)).count(), 0);
            for (int i = 0; i < 3; i++) {
                int number = i;
                var sending = CompletableFuture.supplyAsync(() -> {
                    try {
                        Thread.sleep(300);
                        Check.get(producer.send(new ProducerRecord<>(check.topic, 0, "k", "late " + number)));
                        return System.nanoTime();
                    } catch (Exception error) {
                        throw new IllegalStateException(error);
                    }
                });
                var got = consumer.poll(Duration.ofSeconds(12));
                long after = (System.nanoTime() - Check.get(sending)) / 1_000_000;
                List<String> values = new ArrayList<>();
                got.forEach(record -> values.add(record.value()));
                check.equal("value", values, List.of("late " + i));
                check.isTrue("it came at once", after < 1500, after);
            }
        }
    }

    static void smallFetches(Check check) throws Exception {
        Admins.create(check, check.topic, 1);
        fill(check, check.topic, 0, 10);
        var tp = new TopicPartition(check.topic, 0);
        try (var consumer = consumer(check, "max.partition.fetch.bytes", "1", "fetch.max.bytes", "1", "max.poll.records", "7")) {
            consumer.assign(List.of(tp));
            consumer.seek(tp, 5);
            var got = poll(consumer, 95);
            check.equal("values", texts(got), Producing.values("v", 100).subList(5, 100));
            check.equal("offsets", offsets(got), counting(5, 100));
        }
    }

    static void partitions(Check check) throws Exception {
        Admins.create(check, check.topic, 5);
        List<TopicPartition> tps = new ArrayList<>();
        for (int partition = 0; partition < 5; partition++) {
            fill(check, check.topic, partition, partition + 1);
            tps.add(new TopicPartition(check.topic, partition));
        }
        try (var consumer = consumer(check)) {
            consumer.assign(tps);
            consumer.seekToBeginning(tps);
            var got = poll(consumer, 150);
            check.equal("how many", got.size(), 150);
            for (int partition = 0; partition < 5; partition++) {
                int which = partition;
                var here = got.stream().filter(record -> record.partition() == which).toList();
                check.equal("values of " + partition, texts(here), Producing.values("v", 10 * (partition + 1)));
            }
            consumer.pause(tps.subList(0, 4));
            consumer.seekToBeginning(tps);
            check.equal("only the one that is not paused", texts(poll(consumer, 50)), Producing.values("v", 50));
        }
    }

    static void outOfRange(Check check) throws Exception {
        Admins.create(check, check.topic, 1);
        fill(check, check.topic, 0, 1);
        var tp = new TopicPartition(check.topic, 0);
        try (var consumer = consumer(check)) {
            consumer.assign(List.of(tp));
            consumer.seek(tp, 11);
            check.fails("an offset beyond the end", OffsetOutOfRangeException.class, () -> poll(consumer, 1));
        }
        try (var consumer = consumer(check, "auto.offset.reset", "earliest")) {
            consumer.assign(List.of(tp));
            consumer.seek(tp, 11);
            check.equal("back to the earliest", texts(poll(consumer, 10)), Producing.values("v", 10));
        }
    }

    static void readCommitted(Check check) throws Exception {
        Admins.create(check, check.topic, 1);
        fill(check, check.topic, 0, 2);
        var tp = new TopicPartition(check.topic, 0);
        try (var consumer = consumer(check, "isolation.level", "read_committed")) {
            consumer.assign(List.of(tp));
            consumer.seek(tp, 0);
            check.equal("values", texts(poll(consumer, 20)), Producing.values("v", 20));
            check.equal("end", consumer.endOffsets(List.of(tp)).get(tp), 20L);
        }
    }

    static void group(Check check) throws Exception {
        Admins.create(check, check.topic, 2);
        fill(check, check.topic, 1, 5);
        var tp = new TopicPartition(check.topic, 1);
        List<String> values = Producing.values("v", 50);
        String[] settings = {"group.id", check.topic, "auto.offset.reset", "earliest", "max.poll.records", "10"};
        try (var consumer = consumer(check, settings)) {
            consumer.subscribe(List.of(check.topic));
            check.equal("values", texts(poll(consumer, 20)), values.subList(0, 20));
            check.equal("assigned", consumer.assignment(), Set.of(new TopicPartition(check.topic, 0), tp));
            consumer.commitSync();
            consumer.commitSync(Map.of(tp, new OffsetAndMetadata(15, "a note")));
            check.equal("generation", consumer.groupMetadata().generationId(), 1);
        }
        try (var consumer = consumer(check, settings)) {
            check.equal("committed", consumer.committed(Set.of(tp)).get(tp), new OffsetAndMetadata(15, "a note"));
            consumer.subscribe(Pattern.compile(Pattern.quote(check.topic)));
            check.equal("goes on there", texts(poll(consumer, 35)), values.subList(15, 50));
            check.equal("lag", consumer.currentLag(tp).getAsLong(), 0L);
        }
    }

    static void read(Check check) throws Exception {
        try (var consumer = consumer(check)) {
            List<TopicPartition> tps = consumer.partitionsFor(check.topic).stream()
                    .map(info -> new TopicPartition(check.topic, info.partition())).toList();
            int count = (int) consumer.endOffsets(tps).values().stream().mapToLong(Long::longValue).sum();
            consumer.assign(tps);
            consumer.seekToBeginning(tps);
            List<ConsumerRecord<String, String>> all = new ArrayList<>(poll(consumer, count));
            all.sort((a, b) -> a.partition() != b.partition()
                    ? Integer.compare(a.partition(), b.partition()) : Long.compare(a.offset(), b.offset()));
            for (var record : all) {
                List<List<String>> headers = new ArrayList<>();
                record.headers().forEach(header -> headers.add(
                        List.of(header.key(), new String(header.value(), StandardCharsets.UTF_8))));
                Map<String, Object> line = new LinkedHashMap<>();
                line.put("partition", record.partition());
                line.put("offset", record.offset());
                line.put("timestamp", record.timestamp());
                line.put("key", record.key());
                line.put("value", record.value());
                line.put("headers", headers);
                Check.emit(line);
            }
        }
    }
}
