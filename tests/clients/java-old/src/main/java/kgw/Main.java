package kgw;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collection;
import java.util.Comparator;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Properties;
import java.util.Random;
import java.util.Set;
import java.util.TreeMap;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/**
 * Old releases of Apache Kafka's Java client, 0.10.2 to 3.9: BOOTSTRAP SCENARIO [TOPIC [PARTITION...]].
 *
 * <p>Written against what 0.10.2 has; what came with 0.11 is in {@link Extras}. Topics are made by the broker
 * when first asked for, with one partition, as 0.10.2 has no way to create them.
 */
public final class Main {
    private static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4");
    private static final long START = 1_700_000_000_000L;

    private Main() {}

    interface Scenario {
        void run(Check check) throws Exception;
    }

    private static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new TreeMap<>();
        all.put("acks", Main::acks);
        all.put("codecs", Main::codecs);
        all.put("seek", Main::seek);
        all.put("times", Main::times);
        all.put("waits", Main::waits);
        all.put("group", Main::group);
        all.put("write", Main::write);
        all.put("read", Main::read);
        Extras.scenarios(all);
        return all;
    }

    public static void main(String[] arguments) throws Exception {
        String name = arguments[1];
        if (name.equals("list")) {
            scenarios().keySet().forEach(one -> Check.emit(Map.of("scenario", one)));
            return;
        }
        Check check = new Check(arguments);
        try {
            Objects.requireNonNull(scenarios().get(name), "there is no such scenario").run(check);
        } catch (Exception error) {
            error.printStackTrace();
            check.failed = true;
        }
        System.exit(check.failed ? 1 : 0);
    }

    /** One run of one scenario: every comparison is printed as one line of JSON. */
    static final class Check {
        static final ObjectMapper JSON = new ObjectMapper();

        final String bootstrap;
        final String scenario;
        final String topic;
        final Set<Integer> partitions = new LinkedHashSet<>();
        boolean failed;

        Check(String[] arguments) {
            bootstrap = arguments[0];
            scenario = arguments[1];
            topic = arguments.length > 2 ? arguments[2] : name();
            Arrays.stream(arguments).skip(3).map(Integer::valueOf).forEach(partitions::add);
        }

        /** A topic name that no other run uses. */
        String name() {
            return "%s-%08x".formatted(scenario, ThreadLocalRandom.current().nextInt());
        }

        void equal(String what, Object got, Object want) {
            result(what, Objects.equals(got, want), String.valueOf(got), String.valueOf(want));
        }

        void isTrue(String what, boolean ok, Object got) {
            result(what, ok, String.valueOf(got), "true");
        }

        private void result(String what, boolean ok, String got, String want) {
            failed |= !ok;
            emit(ok ? Map.of("check", what, "ok", true) : Map.of("check", what, "ok", false, "got", got, "want", want));
        }

        static void emit(Object line) {
            try {
                System.out.println(JSON.writeValueAsString(line));
            } catch (java.io.IOException error) {
                throw new IllegalStateException(error);
            }
        }
    }

    static KafkaProducer<String, String> producer(Check check, String... settings) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", check.bootstrap);
        properties.put("max.block.ms", "20000");
        properties.put("linger.ms", "20");
        properties.put("request.timeout.ms", "10000");
        for (int i = 0; i < settings.length; i += 2) {
            properties.put(settings[i], settings[i + 1]);
        }
        return new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
    }

    static KafkaConsumer<String, String> consumer(Check check, String... settings) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", check.bootstrap);
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "none");
        properties.put("fetch.max.wait.ms", "200");
        for (int i = 0; i < settings.length; i += 2) {
            properties.put(settings[i], settings[i + 1]);
        }
        return new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
    }

    static List<String> values(String prefix, int count) {
        List<String> all = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            all.add(prefix + i);
        }
        return all;
    }

    /** Sends the values to partition 0, a second apart by their times, and checks the offset of each. */
    static void send(Check check, KafkaProducer<String, String> producer, String topic, List<String> values, long first)
            throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (int i = 0; i < values.size(); i++) {
            sent.add(producer.send(new ProducerRecord<>(topic, 0, START + (first + i) * 1000, "k" + i, values.get(i))));
        }
        producer.flush();
        int wrong = 0;
        for (int i = 0; i < sent.size(); i++) {
            wrong += sent.get(i).get(20, TimeUnit.SECONDS).offset() == first + i ? 0 : 1;
        }
        check.equal("records with another offset than their place", wrong, 0);
    }

    /** At least so many records, or what came within 20 s. */
    static List<ConsumerRecord<String, String>> poll(KafkaConsumer<String, String> consumer, int count) {
        List<ConsumerRecord<String, String>> all = new ArrayList<>();
        long until = System.currentTimeMillis() + 20_000;
        while (all.size() < count && System.currentTimeMillis() < until) {
            consumer.poll(200).forEach(all::add);
        }
        return all;
    }

    static List<String> texts(List<ConsumerRecord<String, String>> records) {
        return records.stream().map(ConsumerRecord::value).toList();
    }

    /** What is in partition 0 from an offset on. */
    static List<ConsumerRecord<String, String>> from(Check check, String topic, long offset, int count) {
        try (var consumer = consumer(check)) {
            var tp = new TopicPartition(topic, 0);
            consumer.assign(List.of(tp));
            consumer.seek(tp, offset);
            return poll(consumer, count);
        }
    }

    static void acks(Check check) throws Exception {
        for (String acks : List.of("0", "1", "all")) {
            String topic = check.name();
            List<String> values = values("acks " + acks + " ", 100);
            try (var producer = producer(check, "acks", acks)) {
                for (String value : values) {
                    producer.send(new ProducerRecord<>(topic, 0, null, value));
                }
            }
            var got = from(check, topic, 0, 100);
            check.equal("values with acks " + acks, texts(got), values);
            check.equal("last offset with acks " + acks, got.get(99).offset(), 99L);
        }
    }

    static void codecs(Check check) throws Exception {
        List<String> want = new ArrayList<>();
        Random random = new Random(1);
        for (String codec : CODECS) {
            List<String> values = values(codec + " again and again and again and again ", 200);
            StringBuilder noise = new StringBuilder();
            while (noise.length() < 300_000) {
                noise.append((char) (' ' + random.nextInt(90)));
            }
            values.add(noise.toString());
            try (var producer = producer(check, "compression.type", codec)) {
                send(check, producer, check.topic, values, want.size());
            }
            want.addAll(values);
        }
        var got = from(check, check.topic, 0, want.size());
        check.isTrue("values", texts(got).equals(want), "others");
        check.equal("offsets", got.stream().map(ConsumerRecord::offset).toList(),
                java.util.stream.LongStream.range(0, want.size()).boxed().toList());
        check.equal("the last one's time", got.get(803).timestamp(), START + 803_000);
        for (int codec = 0; codec < CODECS.size(); codec++) {
            int middle = codec * 201 + 77;
            check.isTrue("from the middle of " + CODECS.get(codec),
                    texts(from(check, check.topic, middle, want.size() - middle)).equals(want.subList(middle, want.size())),
                    "others");
        }
    }

    static void seek(Check check) throws Exception {
        List<String> values = values("v", 50);
        try (var producer = producer(check)) {
            for (int batch = 0; batch < 5; batch++) {
                send(check, producer, check.topic, values.subList(batch * 10, batch * 10 + 10), batch * 10);
            }
            producer.send(Extras.record(check.topic, 0, 5, null, null, List.of())).get(20, TimeUnit.SECONDS);
        }
        var tp = new TopicPartition(check.topic, 0);
        try (var consumer = consumer(check)) {
            check.equal("partitions", consumer.partitionsFor(check.topic).size(), 1);
            consumer.assign(List.of(tp));
            for (int from : List.of(0, 9, 10, 11, 25, 49)) {
                consumer.seek(tp, from);
                check.equal("position", consumer.position(tp), (long) from);
                check.equal("values", texts(poll(consumer, 51 - from)).subList(0, 50 - from), values.subList(from, 50));
            }
            check.equal("beginning", consumer.beginningOffsets(List.of(tp)).get(tp), 0L);
            check.equal("end", consumer.endOffsets(List.of(tp)).get(tp), 51L);
            consumer.seekToEnd(List.of(tp));
            check.equal("at the end", consumer.position(tp), 51L);
            consumer.seek(tp, 50);
            var nulls = poll(consumer, 1).get(0);
            check.equal("a null key", nulls.key(), null);
            check.equal("a null value", nulls.value(), null);
        }
        try (var consumer = consumer(check, "max.partition.fetch.bytes", "100", "max.poll.records", "7")) {
            consumer.assign(List.of(tp));
            consumer.seek(tp, 3);
            check.equal("in small fetches", texts(poll(consumer, 48)).subList(0, 47), values.subList(3, 50));
        }
    }

    static void times(Check check) throws Exception {
        try (var producer = producer(check)) {
            send(check, producer, check.topic, values("v", 30), 0);
        }
        var tp = new TopicPartition(check.topic, 0);
        try (var consumer = consumer(check)) {
            for (long at : List.of(-1L, 0L, 13_000L, 13_001L, 29_000L)) {
                var found = consumer.offsetsForTimes(Map.of(tp, START + at)).get(tp);
                long want = Math.max(0, (at + 999) / 1000);
                check.equal("offset", found.offset(), want);
                check.equal("time", found.timestamp(), START + want * 1000);
            }
            check.equal("none is later", consumer.offsetsForTimes(Map.of(tp, START + 29_001)).get(tp), null);
        }
    }

    static void waits(Check check) throws Exception {
        var tp = new TopicPartition(check.topic, 0);
        try (var producer = producer(check, "linger.ms", "0");
                var consumer = consumer(check, "fetch.max.wait.ms", "3000")) {
            send(check, producer, check.topic, List.of("first"), 0);
            consumer.assign(List.of(tp));
            consumer.seek(tp, 1);
            check.equal("nothing yet", consumer.poll(300).count(), 0);
            producer.send(new ProducerRecord<>(check.topic, 0, "k", "late")).get(20, TimeUnit.SECONDS);
            long began = System.nanoTime();
            check.equal("value", texts(poll(consumer, 1)), List.of("late"));
            long took = (System.nanoTime() - began) / 1_000_000;
            check.isTrue("it came at once", took < 1500, took);
        }
    }

    /** Notes what a consumer was given. */
    private static final class Given implements ConsumerRebalanceListener {
        final List<Collection<TopicPartition>> assigned = new ArrayList<>();

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> partitions) {}

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> partitions) {
            assigned.add(List.copyOf(partitions));
        }
    }

    static void group(Check check) throws Exception {
        var tp = new TopicPartition(check.topic, 0);
        try (var producer = producer(check)) {
            send(check, producer, check.topic, values("v", 50), 0);
        }
        String[] settings = {
            "group.id", check.topic, "auto.offset.reset", "earliest", "heartbeat.interval.ms", "300", "max.poll.records", "10",
        };
        try (var consumer = consumer(check, settings)) {
            Given given = new Given();
            consumer.subscribe(List.of(check.topic), given);
            check.equal("values", texts(poll(consumer, 20)), values("v", 20));
            check.equal("given", given.assigned, List.of(List.of(tp)));
            consumer.commitSync();
            check.equal("more", texts(poll(consumer, 10)), values("v", 30).subList(20, 30));
            Map<TopicPartition, OffsetAndMetadata> at = new HashMap<>();
            at.put(tp, new OffsetAndMetadata(25, "a note"));
            consumer.commitSync(at);
        }
        try (var consumer = consumer(check, settings)) {
            check.equal("committed", consumer.committed(tp), new OffsetAndMetadata(25, "a note"));
            consumer.subscribe(List.of(check.topic));
            check.equal("goes on there", texts(poll(consumer, 25)), values("v", 50).subList(25, 50));
            consumer.commitAsync();
        }
        try (var consumer = consumer(check, settings)) {
            check.equal("committed on closing", consumer.committed(tp).offset(), 50L);
        }
    }

    static void write(Check check) throws Exception {
        for (JsonNode part : Check.JSON.readTree(System.in)) {
            int partition = part.get("partition").asInt();
            try (var producer = producer(check, "compression.type", part.get("codec").asText())) {
                for (JsonNode one : part.get("records")) {
                    List<List<String>> headers = new ArrayList<>();
                    one.get("headers").forEach(pair -> headers.add(List.of(pair.get(0).asText(), pair.get(1).asText())));
                    producer.send(Extras.record(check.topic, partition, one.get("timestamp").asLong(),
                            one.get("key").textValue(), one.get("value").textValue(), headers));
                }
            }
        }
    }

    /** Reads the named partitions, in order. */
    static void read(Check check) {
        try (var consumer = consumer(check)) {
            List<TopicPartition> tps = check.partitions.stream().map(one -> new TopicPartition(check.topic, one)).toList();
            int count = (int) consumer.endOffsets(tps).values().stream().mapToLong(Long::longValue).sum();
            consumer.assign(tps);
            consumer.seekToBeginning(tps);
            List<ConsumerRecord<String, String>> all = poll(consumer, count);
            all.sort(Comparator.<ConsumerRecord<String, String>>comparingInt(ConsumerRecord::partition)
                    .thenComparingLong(ConsumerRecord::offset));
            for (var record : all) {
                Map<String, Object> line = new LinkedHashMap<>();
                line.put("partition", record.partition());
                line.put("offset", record.offset());
                line.put("timestamp", record.timestamp());
                line.put("key", record.key());
                line.put("value", record.value());
                line.put("headers", Extras.headers(record));
                Check.emit(line);
            }
        }
    }
}
