package kgw;

import java.util.HashMap;
import java.util.Map;
import org.apache.kafka.common.serialization.LongDeserializer;
import org.apache.kafka.streams.Topology;

/** Two instances of one application: tasks move to the second, and back when it goes. */
final class Instances {
    private Instances() {}

    static void two(Check check) throws Exception {
        String from = check.topic + "-in";
        String to = check.topic + "-out";
        Topics.create(check, 3, from, to);
        Map<String, Long> counts = new HashMap<>();
        Topology topology = Counting.words(from, to);
        Map<String, Object> settings = Map.of(
                "num.standby.replicas", 1,
                "acceptable.recovery.lag", 0,
                "probing.rebalance.interval.ms", 60_000,
                "max.warmup.replicas", 2);

        Topics.write(check, Counting.lines(from, 300, counts));
        try (App first = new App(check, check.topic, topology, settings).start()) {
            Topics.becomes(check, "counts of one instance", to, new LongDeserializer(), counts);
            try (App second = new App(check, check.topic, topology, settings).start()) {
                first.awaitRunning();
                Topics.await("a standby has caught up", () -> tasks(second) > 0);
                Topics.write(check, Counting.lines(from, 300, counts));
                Topics.becomes(check, "counts of two instances", to, new LongDeserializer(), counts);
                check.equal("members of the second", second.streams.metadataForLocalThreads().size(), 1);
            }
            first.awaitRunning();
            Topics.write(check, Counting.lines(from, 300, counts));
            Topics.becomes(check, "counts after the second has left", to, new LongDeserializer(), counts);
        }
        try (App again = new App(check, check.topic, topology, settings).start()) {
            Topics.write(check, Counting.lines(from, 300, counts));
            Topics.becomes(check, "counts after a restart", to, new LongDeserializer(), counts);
            check.isTrue("the stores were restored", again.restored.get() > 0, again.restored.get());
        }
    }

    private static long tasks(App app) {
        return app.streams.metadataForLocalThreads().stream()
                .mapToLong(thread -> thread.activeTasks().size() + thread.standbyTasks().size())
                .sum();
    }
}
