package kgw;

import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.producer.ProducerRecord;

/** What clients before 0.11 lack: headers, AdminClient. */
final class Extras {
    private Extras() {}

    static void scenarios(Map<String, Main.Scenario> all) {}

    static ProducerRecord<String, String> record(
            String topic, int partition, long timestamp, String key, String value, List<List<String>> headers) {
        return new ProducerRecord<>(topic, partition, timestamp, key, value);
    }

    static List<List<String>> headers(ConsumerRecord<String, String> record) {
        return List.of();
    }
}
