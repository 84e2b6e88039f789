package kgw;

import java.util.Map;
import java.util.TreeMap;

/** Uses Apache Kafka's own Java client against a broker: BOOTSTRAP SCENARIO [TOPIC]; "list" names the scenarios. */
public final class Main {
    interface Scenario {
        void run(Check check) throws Exception;
    }

    private static Map<String, Scenario> scenarios() {
        Map<String, Scenario> all = new TreeMap<>();
        all.put("producer-idempotent", Producing::idempotent);
        all.put("producer-codecs", Producing::codecs);
        all.put("producer-acks", Producing::acks);
        all.put("producer-headers", Producing::headers);
        all.put("producer-in-flight", Producing::inFlight);
        all.put("producer-partitions", Producing::partitions);
        all.put("producer-too-large", Producing::tooLarge);
        all.put("producer-creates-topic", Producing::createsTopic);
        all.put("producer-recreated-topic", Producing::recreatedTopic);
        all.put("producer-transactional", Producing::transactional);
        all.put("consumer-seek", Consuming::seek);
        all.put("consumer-times", Consuming::times);
        all.put("consumer-ends", Consuming::ends);
        all.put("consumer-waits", Consuming::waits);
        all.put("consumer-small-fetches", Consuming::smallFetches);
        all.put("consumer-partitions", Consuming::partitions);
        all.put("consumer-out-of-range", Consuming::outOfRange);
        all.put("consumer-read-committed", Consuming::readCommitted);
        all.put("admin-create-topics", Admins::createTopics);
        all.put("admin-validate-only", Admins::validateOnly);
        all.put("admin-create-refused", Admins::createRefused);
        all.put("admin-list-topics", Admins::listTopics);
        all.put("admin-describe-topics", Admins::describeTopics);
        all.put("admin-delete-topics", Admins::deleteTopics);
        all.put("admin-describe-cluster", Admins::describeCluster);
        all.put("admin-describe-configs", Admins::describeConfigs);
        all.put("admin-list-offsets", Admins::listOffsets);
        all.put("admin-create-partitions", Admins::createPartitions);
        all.put("admin-delete-records", Admins::deleteRecords);
        all.put("admin-alter-configs", Admins::alterConfigs);
        all.put("admin-describe-logs", Admins::describeLogs);
        all.put("admin-absent", Admins::absent);
        all.put("consumer-group", Consuming::group);
        all.put("admin-list-config-resources", Clusters::listConfigResources);
        all.put("admin-topic-pages", Clusters::topicPages);
        all.put("admin-elect-leaders", Clusters::electLeaders);
        all.put("admin-reassignments", Clusters::reassignments);
        all.put("admin-replica-log-dirs", Clusters::replicaLogDirs);
        all.put("admin-features", Clusters::features);
        all.put("admin-metadata-quorum", Clusters::metadataQuorum);
        all.put("admin-broker-configs", Clusters::brokerConfigs);
        all.put("admin-groups-list", Groups::list);
        all.put("admin-groups-describe", Groups::describe);
        all.put("admin-groups-offsets", Groups::offsets);
        all.put("admin-groups-remove-members", Groups::removeMembers);
        all.put("admin-groups-delete", Groups::delete);
        all.put("members", Members::run);
        all.put("write", Producing::write);
        all.put("read", Consuming::read);
        all.put("cut", Cut::run);
        return all;
    }

    public static void main(String[] arguments) throws Exception {
        if (arguments.length < 2) {
            System.err.println("usage: Main BOOTSTRAP SCENARIO [TOPIC]");
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
        Check check = new Check(arguments[0], name, arguments.length > 2 ? arguments[2] : null);
        try {
            scenario.run(check);
        } catch (Exception error) {
            error.printStackTrace();
            check.failed = true;
        }
        System.exit(check.failed ? 1 : 0);
    }
}
