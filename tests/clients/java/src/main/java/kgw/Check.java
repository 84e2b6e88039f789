package kgw;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.ObjectMapper;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Objects;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;

/** One run of one scenario: every comparison is printed as one line of JSON. */
final class Check {
    static final ObjectMapper JSON = new ObjectMapper();

    final String bootstrap;
    final String scenario;
    /** A name that no other run uses, or the one from the command line. */
    final String topic;
    boolean failed;

    Check(String bootstrap, String scenario, String topic) {
        this.bootstrap = bootstrap;
        this.scenario = scenario;
        this.topic = topic == null ? name() : topic;
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
        Map<String, Object> line = new LinkedHashMap<>();
        line.put("check", what);
        line.put("ok", ok);
        if (!ok) {
            failed = true;
            line.put("got", got);
            line.put("want", want);
        }
        emit(line);
    }

    interface Action {
        void run() throws Exception;
    }

    /** What the action throws, out of the wrapping that futures add; a failed check if it throws nothing. */
    Throwable fails(String what, Class<? extends Throwable> type, Action action) {
        Throwable thrown = null;
        try {
            action.run();
        } catch (ExecutionException wrapped) {
            thrown = wrapped.getCause();
        } catch (Exception itself) {
            thrown = itself;
        }
        isTrue(what, type.isInstance(thrown), thrown + ", not " + type.getSimpleName());
        return thrown == null ? new AssertionError("nothing was thrown") : thrown;
    }

    /** The value of a future, which has to come soon. */
    static <T> T get(Future<T> future) throws Exception {
        return future.get(20, TimeUnit.SECONDS);
    }

    static void emit(Object line) {
        try {
            System.out.println(JSON.writeValueAsString(line));
        } catch (JsonProcessingException error) {
            throw new IllegalStateException(error);
        }
    }
}
