package kgw;

import static java.nio.charset.StandardCharsets.UTF_8;

import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.TimeUnit;
import org.apache.kafka.clients.admin.AdminClient;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.config.ConfigResource;

/** What clients have from 0.11 on: headers, AdminClient. */
final class Extras {
    private Extras() {}

    static void scenarios(Map<String, Main.Scenario> all) {
        all.put("admin", Extras::admin);
    }

    static ProducerRecord<String, String> record(
            String topic, int partition, long timestamp, String key, String value, List<List<String>> headers) {
        var record = new ProducerRecord<>(topic, partition, timestamp, key, value);
        headers.forEach(one -> record.headers().add(one.get(0), one.get(1).getBytes(UTF_8)));
        return record;
    }

    static List<List<String>> headers(ConsumerRecord<String, String> record) {
        List<List<String>> all = new ArrayList<>();
        record.headers().forEach(one -> all.add(List.of(one.key(), new String(one.value(), UTF_8))));
        return all;
    }

    static void admin(Main.Check check) throws Exception {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", check.bootstrap);
        String topic = check.name();
        try (AdminClient admin = AdminClient.create(properties)) {
            var wanted = new NewTopic(topic, 3, (short) 1).configs(Map.of("retention.ms", "1234567"));
            admin.createTopics(List.of(wanted)).all().get(20, TimeUnit.SECONDS);
            check.isTrue("listed", admin.listTopics().names().get(20, TimeUnit.SECONDS).contains(topic), "not there");
            var described = admin.describeTopics(List.of(topic)).values().get(topic).get(20, TimeUnit.SECONDS);
            check.equal("partitions", described.partitions().size(), 3);
            var resource = new ConfigResource(ConfigResource.Type.TOPIC, topic);
            var config = admin.describeConfigs(List.of(resource)).all().get(20, TimeUnit.SECONDS).get(resource);
            check.equal("a config", config.get("retention.ms").value(), "1234567");
            check.equal("brokers", admin.describeCluster().nodes().get(20, TimeUnit.SECONDS).size(), 1);
            admin.deleteTopics(List.of(topic)).all().get(20, TimeUnit.SECONDS);
            check.isTrue("gone", !admin.listTopics().names().get(20, TimeUnit.SECONDS).contains(topic), "still there");
        }
    }
}
