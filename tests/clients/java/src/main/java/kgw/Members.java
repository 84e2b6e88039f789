package kgw;

import com.fasterxml.jackson.databind.JsonNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import org.apache.kafka.clients.consumer.ConsumerRebalanceListener;
import org.apache.kafka.clients.consumer.CooperativeStickyAssignor;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.RangeAssignor;
import org.apache.kafka.clients.consumer.RoundRobinAssignor;
import org.apache.kafka.clients.consumer.StickyAssignor;
import org.apache.kafka.common.KafkaException;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.StringDeserializer;

/** Members of groups, started and stopped as standard input orders it, one line of JSON each; all stop at its end. */
final class Members {
    private static final Map<String, Class<?>> ASSIGNORS = Map.of(
            "range", RangeAssignor.class, "roundrobin", RoundRobinAssignor.class, "sticky", StickyAssignor.class,
            "cooperative-sticky", CooperativeStickyAssignor.class);

    private Members() {}

    static void run(Check check) throws Exception {
        Map<String, Member> members = new HashMap<>();
        var lines = new BufferedReader(new InputStreamReader(System.in));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            JsonNode order = Check.JSON.readTree(line);
            if (order.has("start")) {
                Member member = new Member(check.bootstrap, order);
                members.put(member.name, member);
                member.start();
            } else {
                members.get(order.get("stop").asText()).stopping = true;
            }
        }
        members.values().forEach(member -> member.stopping = true);
        for (Member member : members.values()) {
            member.join();
        }
    }

    private static final class Member extends Thread implements ConsumerRebalanceListener {
        final String name;
        private final String topic;
        private final KafkaConsumer<String, String> consumer;
        volatile boolean stopping;

        Member(String bootstrap, JsonNode order) {
            name = order.get("start").asText();
            topic = order.get("topic").asText();
            Properties properties = new Properties();
            properties.put("bootstrap.servers", bootstrap);
            properties.put("group.id", order.get("group").asText());
            properties.put("partition.assignment.strategy", ASSIGNORS.get(order.get("strategy").asText()).getName());
            properties.put("session.timeout.ms", order.get("session").asText());
            properties.put("heartbeat.interval.ms", order.get("heartbeat").asText());
            properties.put("auto.offset.reset", "earliest");
            properties.put("enable.auto.commit", "false");
            properties.put("fetch.max.wait.ms", "100");
            properties.put("enable.metrics.push", "false");
            consumer = new KafkaConsumer<>(properties, new StringDeserializer(), new StringDeserializer());
        }

        @Override
        public void run() {
            Map<String, Object> end = new LinkedHashMap<>(Map.of("member", name, "stopped", true));
            try {
                consumer.subscribe(List.of(topic), this);
                while (!stopping) {
                    List<List<Long>> seen = new ArrayList<>();
                    consumer.poll(Duration.ofMillis(100))
                            .forEach(record -> seen.add(List.of((long) record.partition(), record.offset())));
                    if (!seen.isEmpty()) {
                        tell(consumer.groupMetadata().generationId(), "seen", seen);
                        consumer.commitAsync(); // what cannot be committed any more, the next owner sees again
                    }
                }
                consumer.close();
            } catch (KafkaException error) {
                end.put("error", error.toString());
            }
            Check.emit(end);
        }

        @Override
        public void onPartitionsAssigned(Collection<TopicPartition> added) {
            tell(consumer.groupMetadata().generationId(), "assigned", owned(List.of()));
        }

        @Override
        public void onPartitionsRevoked(Collection<TopicPartition> taken) {
            tell(-1, "assigned", owned(taken));
        }

        private List<Integer> owned(Collection<TopicPartition> without) {
            return consumer.assignment().stream().filter(tp -> !without.contains(tp)).map(TopicPartition::partition).toList();
        }

        private void tell(int generation, String what, Object value) {
            Check.emit(Map.of("member", name, "generation", generation, what, value));
        }
    }
}
