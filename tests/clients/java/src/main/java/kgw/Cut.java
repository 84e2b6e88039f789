package kgw;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.LogTruncationException;
import org.apache.kafka.common.TopicPartition;

/**
 * Consumers of a log that loses records which they have read (KIP-320). They read up to the offset that is the first
 * line of standard input, say so, and go on when the next line comes: up to the offset in it. Told is what came.
 */
final class Cut {
    private Cut() {}

    static void run(Check check) throws Exception {
        var tp = new TopicPartition(check.topic, 0);
        var lines = new BufferedReader(new InputStreamReader(System.in));
        try (var resetting = Consuming.consumer(check, "auto.offset.reset", "earliest"); var strict = Consuming.consumer(check)) {
            int first = Integer.parseInt(lines.readLine());
            for (var consumer : List.of(resetting, strict)) {
                consumer.assign(List.of(tp));
                consumer.seek(tp, 0);
                Consuming.poll(consumer, first);
                check.equal("position", consumer.position(tp), (long) first);
            }
            Check.emit(Map.of("read", first));
            int end = Integer.parseInt(lines.readLine());
            Check.emit(Map.of("resetting", upTo(resetting, tp, end), "strict", upTo(strict, tp, end)));
        }
    }

    private static Object upTo(KafkaConsumer<String, String> consumer, TopicPartition tp, int end) {
        List<List<Object>> found = new ArrayList<>();
        long until = System.nanoTime() + 20_000_000_000L;
        try {
            while (consumer.position(tp) < end && System.nanoTime() < until) {
                consumer.poll(Duration.ofMillis(100))
                        .forEach(record -> found.add(List.of(record.offset(), record.leaderEpoch().orElse(-1))));
            }
        } catch (LogTruncationException told) {
            return Map.of("diverges", told.divergentOffsets().get(tp).offset());
        }
        return found;
    }
}
