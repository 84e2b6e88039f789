package kgw;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.Map;
import java.util.Properties;
import java.util.concurrent.atomic.AtomicLong;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.Topology;
import org.apache.kafka.streams.errors.StreamsUncaughtExceptionHandler.StreamThreadExceptionResponse;
import org.apache.kafka.streams.processor.StateRestoreListener;

/** One instance of an application, with a state directory that goes away with it. */
final class App implements AutoCloseable {
    final KafkaStreams streams;
    /** Records that were read from changelogs to restore stores. */
    final AtomicLong restored = new AtomicLong();
    final AtomicReference<Throwable> failure = new AtomicReference<>();
    private final Path state;

    App(Check check, String id, Topology topology, Map<String, ?> settings) throws IOException {
        state = Files.createTempDirectory("kgw-streams");
        Properties all = new Properties();
        all.put(StreamsConfig.APPLICATION_ID_CONFIG, id);
        all.put(StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, check.bootstrap);
        all.put(StreamsConfig.STATE_DIR_CONFIG, state.toString());
        all.put(StreamsConfig.DEFAULT_KEY_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        all.put(StreamsConfig.DEFAULT_VALUE_SERDE_CLASS_CONFIG, Serdes.StringSerde.class);
        all.put(StreamsConfig.COMMIT_INTERVAL_MS_CONFIG, 100);
        all.put("cache.max.bytes.buffering", 0); // every update is forwarded
        all.put("auto.offset.reset", "earliest");
        all.put("repartition.purge.interval.ms", 100);
        all.put("topic.min.compaction.lag.ms", 3_600_000); // a changelog restores all that was written to it
        all.put("internal.leave.group.on.close", true); // or the next instance waits until the session ends
        all.putAll(settings);
        streams = new KafkaStreams(topology, all);
        streams.setUncaughtExceptionHandler(thrown -> {
            failure.compareAndSet(null, thrown);
            return StreamThreadExceptionResponse.SHUTDOWN_CLIENT;
        });
        streams.setGlobalStateRestoreListener(new StateRestoreListener() {
            @Override
            public void onRestoreStart(TopicPartition partition, String store, long from, long to) {}

            @Override
            public void onBatchRestored(TopicPartition partition, String store, long end, long count) {}

            @Override
            public void onRestoreEnd(TopicPartition partition, String store, long total) {
                restored.addAndGet(total);
            }
        });
    }

    /** Start, and wait until partitions are assigned and stores restored. */
    App start() throws Exception {
        streams.start();
        awaitRunning();
        return this;
    }

    void awaitRunning() throws Exception {
        Topics.await("RUNNING", () -> {
            if (failure.get() != null) {
                throw new IllegalStateException("the application failed", failure.get());
            }
            return streams.state() == KafkaStreams.State.RUNNING;
        });
    }

    @Override
    public void close() {
        // 4.x leaves the group because of this, 3.x because of the setting above
        streams.close(new KafkaStreams.CloseOptions().timeout(Duration.ofSeconds(20)).leaveGroup(true));
        streams.cleanUp();
        try (var files = Files.walk(state)) {
            files.sorted((one, other) -> other.compareTo(one)).forEach(path -> path.toFile().delete());
        } catch (IOException ignored) {
            // a temporary folder that stays
        }
    }
}
