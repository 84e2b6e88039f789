package kgw;

import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.Callable;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.Deserializer;
import org.apache.kafka.common.serialization.StringDeserializer;
import org.apache.kafka.common.serialization.StringSerializer;

/** Topics around an application: what goes in, what has come out. */
final class Topics {
    private Topics() {}

    static Admin admin(Check check) {
        return Admin.create(Map.of("bootstrap.servers", check.bootstrap));
    }

    static void create(Check check, int partitions, String... names) throws Exception {
        try (Admin admin = admin(check)) {
            List<NewTopic> topics = new ArrayList<>();
            for (String name : names) {
                topics.add(new NewTopic(name, partitions, (short) 1));
            }
            Check.get(admin.createTopics(topics).all());
        }
    }

    static Config config(Check check, String topic) throws Exception {
        ConfigResource resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
        try (Admin admin = admin(check)) {
            return Check.get(admin.describeConfigs(List.of(resource)).all()).get(resource);
        }
    }

    static void write(Check check, List<ProducerRecord<String, String>> records) throws Exception {
        Map<String, Object> settings = Map.of("bootstrap.servers", check.bootstrap, "linger.ms", 5);
        try (var producer = new KafkaProducer<>(settings, new StringSerializer(), new StringSerializer())) {
            for (var record : records) {
                producer.send(record);
            }
            producer.flush();
        }
    }

    static <K, V> List<ConsumerRecord<K, V>> all(
            Check check, String topic, Deserializer<K> keys, Deserializer<V> values) {
        List<ConsumerRecord<K, V>> found = new ArrayList<>();
        try (var consumer = new KafkaConsumer<>(Map.of("bootstrap.servers", check.bootstrap), keys, values)) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(one -> partitions.add(new TopicPartition(topic, one.partition())));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            while (ends.entrySet().stream().anyMatch(end -> consumer.position(end.getKey()) < end.getValue())) {
                consumer.poll(Duration.ofMillis(200)).forEach(found::add);
            }
        }
        return found;
    }

    static List<ConsumerRecord<byte[], byte[]>> all(Check check, String topic) {
        return all(check, topic, new ByteArrayDeserializer(), new ByteArrayDeserializer());
    }

    /** The last value of each key; a key whose last value is null is not there. */
    static <V> Map<String, V> latest(Check check, String topic, Deserializer<V> values) {
        return latest(all(check, topic, new StringDeserializer(), values));
    }

    static <K, V> Map<K, V> latest(Collection<ConsumerRecord<K, V>> records) {
        Map<K, V> last = new HashMap<>();
        for (var record : records) {
            if (record.value() == null) {
                last.remove(record.key());
            } else {
                last.put(record.key(), record.value());
            }
        }
        return last;
    }

    /** Wait up to 30 s for something to be so. */
    static void await(String what, Callable<Boolean> so) throws Exception {
        long end = System.nanoTime() + Duration.ofSeconds(30).toNanos();
        while (!so.call()) {
            if (System.nanoTime() > end) {
                throw new IllegalStateException("not within 30 s: " + what);
            }
            Thread.sleep(50);
        }
    }

    /** Wait for a topic's last values to be as wanted, and compare them. */
    static <V> void becomes(Check check, String what, String topic, Deserializer<V> values, Map<String, V> want)
            throws Exception {
        try {
            await(what, () -> latest(check, topic, values).equals(want));
        } catch (IllegalStateException late) {
            // compared below
        }
        check.equal(what, latest(check, topic, values), want);
    }
}
