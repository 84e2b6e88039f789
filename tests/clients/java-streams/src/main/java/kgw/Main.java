package kgw;

import java.util.Map;
import java.util.TreeMap;

/** Runs applications of Kafka Streams against a broker: BOOTSTRAP SCENARIO; "list" names the scenarios. */
public final class Main {
    interface Scenario {
        void run(Check check) throws Exception;
    }

    private static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new TreeMap<>();
        all.put("word-count", Counting::words);
        all.put("windows", Counting::windows);
        all.put("tables", Tables::join);
        all.put("two-instances", Instances::two);
        return all;
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 2) {
            System.err.println("usage: Main BOOTSTRAP SCENARIO");
            System.exit(2);
        }
        String name = arguments[1];
        if (name.equals("list")) {
            scenarios().keySet().forEach(one -> Check.emit(Map.of("scenario", one)));
            return;
        }
        Scenario scenario = scenarios().get(name);
        if (scenario == null) {
            System.err.println("there is no scenario " + name);
            System.exit(2);
        }
        Check check = new Check(arguments[0], name, null);
        try {
            scenario.run(check);
        } catch (Throwable thrown) {
            thrown.printStackTrace();
            check.equal("the scenario ends without an exception", thrown.toString(), null);
        }
        System.exit(check.failed ? 1 : 0);
    }
}
