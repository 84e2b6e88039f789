package kgw;

import com.fasterxml.jackson.databind.JsonNode;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.Random;
import java.util.concurrent.Future;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.clients.producer.RecordMetadata;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TransactionalIdAuthorizationException;
import org.apache.kafka.common.header.internals.RecordHeaders;
import org.apache.kafka.common.serialization.StringSerializer;

/** KafkaProducer. */
final class Producing {
    static final List<String> CODECS = List.of("none", "gzip", "snappy", "lz4", "zstd");

    private Producing() {}

    static KafkaProducer<String, String> producer(Check check, String... settings) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", check.bootstrap);
        properties.put("max.block.ms", "20000");
        properties.put("linger.ms", "5");
        properties.put("delivery.timeout.ms", "30000");
        properties.put("request.timeout.ms", "10000");
        for (int i = 0; i < settings.length; i += 2) {
            properties.put(settings[i], settings[i + 1]);
        }
        return new KafkaProducer<>(properties, new StringSerializer(), new StringSerializer());
    }

    static List<String> values(String prefix, int count) {
        List<String> all = new ArrayList<>();
        for (int i = 0; i < count; i++) {
            all.add(prefix + i);
        }
        return all;
    }

    /** Sends the values to partition 0, in order, and checks the offset of each. */
    static void send(Check check, KafkaProducer<String, String> producer, String topic, List<String> values, long first)
            throws Exception {
        List<Future<RecordMetadata>> sent = new ArrayList<>();
        for (String value : values) {
            sent.add(producer.send(new ProducerRecord<>(topic, 0, null, value)));
        }
        producer.flush();
        int wrong = 0;
        for (int i = 0; i < sent.size(); i++) {
            if (Check.get(sent.get(i)).offset() != first + i) {
                wrong++;
            }
        }
        check.equal("records with another offset than their place", wrong, 0);
    }

    static void idempotent(Check check) throws Exception {
        Admins.create(check, check.topic, 1);
        List<String> values = values("idempotent ", 500);
        try (var producer = producer(check)) {
            send(check, producer, check.topic, values.subList(0, 250), 0);
        }
        try (var producer = producer(check)) {
            send(check, producer, check.topic, values.subList(250, 500), 250);
        }
        check.equal("values", Consuming.texts(Consuming.all(check, check.topic, 0, 0, 500)), values);
        check.equal("end", Admins.end(check, check.topic, 0), 500L);
    }

    static void codecs(Check check) throws Exception {
        Admins.create(check, check.topic, 1);
        List<String> want = new ArrayList<>();
        for (String codec : CODECS) {
            List<String> values = values(codec + " again and again and again and again ", 200);
            try (var producer = producer(check, "compression.type", codec, "linger.ms", "50")) {
                send(check, producer, check.topic, values, want.size());
            }
            want.addAll(values);
        }
        check.equal("values", Consuming.texts(Consuming.all(check, check.topic, 0, 0, want.size())), want);
        Random random = new Random(1);
        for (String codec : CODECS) {
            StringBuilder noise = new StringBuilder();
            while (noise.length() < 400_000) {
                noise.append((char) (' ' + random.nextInt(90)));
            }
            long at = Admins.end(check, check.topic, 0);
            try (var producer = producer(check, "compression.type", codec)) {
                send(check, producer, check.topic, List.of(noise.toString()), at);
            }
            check.isTrue(
                    "400 kB of noise through " + codec,
                    Consuming.texts(Consuming.all(check, check.topic, 0, at, 1)).equals(List.of(noise.toString())),
                    "another text");
        }
    }

    static void acks(Check check) throws Exception {
        for (String acks : List.of("0", "1", "all")) {
            String topic = check.name();
            Admins.create(check, topic, 1);
            List<String> values = values("acks " + acks + " ", 100);
            try (var producer = producer(check, "acks", acks, "enable.idempotence", "false")) {
                for (String value : values) {
                    producer.send(new ProducerRecord<>(topic, 0, null, value));
                }
            }
            check.equal("values with acks " + acks, Consuming.texts(Consuming.all(check, topic, 0, 0, 100)), values);
            check.equal("end with acks " + acks, Admins.end(check, topic, 0), 100L);
        }
    }

    static void headers(Check check) throws Exception {
        Admins.create(check, check.topic, 1);
        var headers = new RecordHeaders();
        headers.add("a", "1".getBytes(StandardCharsets.UTF_8));
        headers.add("a", "2".getBytes(StandardCharsets.UTF_8));
        headers.add("empty", new byte[0]);
        headers.add("null", null);
        try (var producer = producer(check)) {
            var with = Check.get(producer.send(new ProducerRecord<>(check.topic, 0, 1_700_000_000_123L, "k", "v", headers)));
            check.equal("timestamp as sent", with.timestamp(), 1_700_000_000_123L);
            Check.get(producer.send(new ProducerRecord<String, String>(check.topic, 0, 1_700_000_000_124L, null, null, List.of())));
            Check.get(producer.send(new ProducerRecord<>(check.topic, 0, 1_700_000_000_125L, "", "")));
        }
        var got = Consuming.all(check, check.topic, 0, 0, 3);
        List<String> found = new ArrayList<>();
        got.get(0).headers().forEach(header -> found.add(
                header.key() + "=" + (header.value() == null ? "null" : new String(header.value(), StandardCharsets.UTF_8))));
        check.equal("headers in order", found, List.of("a=1", "a=2", "empty=", "null=null"));
        check.equal("key", got.get(0).key(), "k");
        check.equal("timestamp", got.get(0).timestamp(), 1_700_000_000_123L);
        check.equal("timestamp type", got.get(0).timestampType().name(), "CREATE_TIME");
        check.equal("a null key", got.get(1).key(), null);
        check.equal("a null value", got.get(1).value(), null);
        check.equal("an empty key", got.get(2).key(), "");
        check.equal("an empty value", got.get(2).value(), "");
        check.equal("leader epoch", got.get(0).leaderEpoch().get(), 0);

        String stamped = check.name();
        Admins.create(check, stamped, 1, Map.of("message.timestamp.type", "LogAppendTime"));
        long before = System.currentTimeMillis();
        try (var producer = producer(check)) {
            Check.get(producer.send(new ProducerRecord<>(stamped, 0, 1L, "k", "v")));
        }
        var at = Consuming.all(check, stamped, 0, 0, 1).get(0);
        check.equal("timestamp type of the log", at.timestampType().name(), "LOG_APPEND_TIME");
        check.isTrue("time of the append", Math.abs(at.timestamp() - before) < 10_000, at.timestamp() - before);
    }

    static void inFlight(Check check) throws Exception {
        Admins.create(check, check.topic, 1);
        List<String> values = values("in flight ", 5000);
        try (var producer = producer(check, "linger.ms", "0", "batch.size", "200",
                "max.in.flight.requests.per.connection", "5")) {
            send(check, producer, check.topic, values, 0);
        }
        check.equal("values in order", Consuming.texts(Consuming.all(check, check.topic, 0, 0, 5000)), values);
    }

    static void partitions(Check check) throws Exception {
        Admins.create(check, check.topic, 4);
        try (var producer = producer(check)) {
            check.equal("partitions", producer.partitionsFor(check.topic).size(), 4);
            List<Future<RecordMetadata>> sent = new ArrayList<>();
            for (int i = 0; i < 200; i++) {
                sent.add(producer.send(new ProducerRecord<>(check.topic, "key " + i, "value " + i)));
            }
            producer.flush();
            int total = 0;
            for (int partition = 0; partition < 4; partition++) {
                List<String> want = new ArrayList<>();
                for (int i = 0; i < 200; i++) {
                    if (Check.get(sent.get(i)).partition() == partition) {
                        check.isTrue("offset", sent.get(i).get().offset() == want.size(), sent.get(i).get().offset());
                        want.add("value " + i);
                    }
                }
                total += want.size();
                check.isTrue("partition " + partition + " got some", want.size() > 20, want.size());
                check.equal("values", Consuming.texts(Consuming.all(check, check.topic, partition, 0, want.size())), want);
            }
            check.equal("all of them", total, 200);
        }
    }

    static void tooLarge(Check check) throws Exception {
        Admins.create(check, check.topic, 1, Map.of("max.message.bytes", "1000"));
        try (var producer = producer(check)) {
            check.fails("a record above max.message.bytes", RecordTooLargeException.class,
                    () -> Check.get(producer.send(new ProducerRecord<>(check.topic, 0, "k", "x".repeat(2000)))));
            check.equal("the next one has the first offset",
                    Check.get(producer.send(new ProducerRecord<>(check.topic, 0, "k", "small"))).offset(), 0L);
        }
        check.equal("values", Consuming.texts(Consuming.all(check, check.topic, 0, 0, 1)), List.of("small"));
    }

    static void createsTopic(Check check) throws Exception {
        try (var producer = producer(check)) {
            var sent = Check.get(producer.send(new ProducerRecord<>(check.topic, "k", "v")));
            check.equal("offset", sent.offset(), 0L);
        }
        check.equal("values", Consuming.texts(Consuming.all(check, check.topic, 0, 0, 1)), List.of("v"));
        try (var producer = producer(check)) {
            check.fails("a name that no topic may have", org.apache.kafka.common.errors.InvalidTopicException.class,
                    () -> Check.get(producer.send(new ProducerRecord<>("no/such name", "k", "v"))));
        }
    }

    static void recreatedTopic(Check check) throws Exception {
        try (var producer = producer(check, "metadata.max.age.ms", "1000"); var admin = Admins.admin(check)) {
            Admins.create(check, check.topic, 1);
            send(check, producer, check.topic, values("before ", 5), 0);
            Check.get(admin.deleteTopics(List.of(check.topic)).all());
            Admins.create(check, check.topic, 1);
            send(check, producer, check.topic, values("after ", 5), 0);
        }
        check.equal("values", Consuming.texts(Consuming.all(check, check.topic, 0, 0, 5)), values("after ", 5));
        check.equal("end", Admins.end(check, check.topic, 0), 5L);
    }

    static void transactional(Check check) throws Exception {
        long began = System.nanoTime();
        try (var producer = producer(check, "transactional.id", "tx", "max.block.ms", "15000")) {
            Throwable thrown = check.fails("transactions are refused", TransactionalIdAuthorizationException.class,
                    producer::initTransactions);
            check.isTrue("the message speaks of the transactional id",
                    String.valueOf(thrown.getMessage()).toLowerCase().contains("transactional"), thrown.getMessage());
        }
        long took = (System.nanoTime() - began) / 1_000_000;
        check.isTrue("at once, not after max.block.ms", took < 5000, took);
    }

    static void write(Check check) throws Exception {
        JsonNode parts = Check.JSON.readTree(System.in);
        for (JsonNode part : parts) {
            try (var producer = producer(check, "compression.type", part.get("codec").asText(), "linger.ms", "100")) {
                List<Future<RecordMetadata>> sent = new ArrayList<>();
                for (JsonNode one : part.get("records")) {
                    var headers = new RecordHeaders();
                    for (JsonNode header : one.get("headers")) {
                        headers.add(header.get(0).asText(), header.get(1).asText().getBytes(StandardCharsets.UTF_8));
                    }
                    sent.add(producer.send(new ProducerRecord<>(check.topic, part.get("partition").asInt(),
                            one.get("timestamp").asLong(), text(one.get("key")), text(one.get("value")), headers)));
                }
                producer.flush();
                check.equal("base offset", Check.get(sent.get(0)).offset(), 0L);
            }
        }
    }

    private static String text(JsonNode node) {
        return node.isNull() ? null : node.asText();
    }
}
