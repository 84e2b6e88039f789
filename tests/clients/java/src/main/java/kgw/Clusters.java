package kgw;

import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.AlterConfigsOptions;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.FeatureUpdate;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.clients.admin.UpdateFeaturesOptions;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.InvalidReplicaAssignmentException;
import org.apache.kafka.common.errors.InvalidRequestException;
import org.apache.kafka.common.errors.InvalidUpdateVersionException;
import org.apache.kafka.common.errors.LogDirNotFoundException;
import org.apache.kafka.common.errors.NoReassignmentInProgressException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/** AdminClient: what it asks of the cluster as a whole. */
final class Clusters {
    private Clusters() {}

    private static int node(Admin admin) throws Exception {
        return Check.get(admin.describeCluster().nodes()).iterator().next().id();
    }

    static void listConfigResources(Check check) throws Exception {
        Admins.create(check, check.topic, 1);
        try (Admin admin = Admins.admin(check)) {
            var topic = new ConfigResource(ConfigResource.Type.TOPIC, check.topic);
            var broker = new ConfigResource(ConfigResource.Type.BROKER, String.valueOf(node(admin)));
            var all = Check.get(admin.listConfigResources().all());
            check.isTrue("topic and broker are there", all.containsAll(List.of(topic, broker)), all);
            var topics = Check.get(admin.listConfigResources(
                    Set.of(ConfigResource.Type.TOPIC), new ListConfigResourcesOptions()).all());
            check.isTrue("only topics", topics.contains(topic) && !topics.contains(broker), topics);
            check.equal("no subscriptions to clients' metrics", clientMetrics(admin), 0);
        }
    }

    @SuppressWarnings({"deprecation", "removal"})
    private static int clientMetrics(Admin admin) throws Exception {
        return Check.get(admin.listClientMetricsResources().all()).size();
    }

    /** describeTopics asks by DescribeTopicPartitions, a page at a time. */
    static void topicPages(Check check) throws Exception {
        String other = check.name();
        Admins.create(check, check.topic, 25);
        Admins.create(check, other, 7);
        try (Admin admin = Admins.admin(check)) {
            var options = new DescribeTopicsOptions().partitionSizeLimitPerResponse(10);
            var described = Check.get(admin.describeTopics(List.of(check.topic, other), options).allTopicNames());
            for (var wanted : Map.of(check.topic, 25, other, 7).entrySet()) {
                var partitions = described.get(wanted.getKey()).partitions();
                check.equal("partitions", partitions.stream().map(one -> one.partition()).toList(),
                        IntStream.range(0, wanted.getValue()).boxed().toList());
            }
        }
    }

    static void electLeaders(Check check) throws Exception {
        Admins.create(check, check.topic, 2);
        var tp = new TopicPartition(check.topic, 0);
        var absent = new TopicPartition(check.topic, 9);
        try (Admin admin = Admins.admin(check)) {
            for (ElectionType type : ElectionType.values()) {
                var found = Check.get(admin.electLeaders(type, Set.of(tp, absent)).partitions());
                check.isTrue("not needed", found.get(tp).get() instanceof ElectionNotNeededException, found.get(tp));
                check.isTrue("not there", found.get(absent).get() instanceof UnknownTopicOrPartitionException, found.get(absent));
            }
            check.equal("of all: none needs one", Check.get(admin.electLeaders(ElectionType.PREFERRED, null).partitions()).size(), 0);
        }
    }

    static void reassignments(Check check) throws Exception {
        Admins.create(check, check.topic, 1);
        var tp = new TopicPartition(check.topic, 0);
        try (Admin admin = Admins.admin(check)) {
            int node = node(admin);
            Check.get(admin.alterPartitionReassignments(
                    Map.of(tp, Optional.of(new NewPartitionReassignment(List.of(node))))).all());
            check.fails("to a broker that is not there", InvalidReplicaAssignmentException.class,
                    () -> Check.get(admin.alterPartitionReassignments(
                            Map.of(tp, Optional.of(new NewPartitionReassignment(List.of(node + 7))))).all()));
            check.fails("nothing to cancel", NoReassignmentInProgressException.class,
                    () -> Check.get(admin.alterPartitionReassignments(Map.of(tp, Optional.empty())).all()));
            check.equal("none is under way", Check.get(admin.listPartitionReassignments().reassignments()).size(), 0);
            check.equal("nor here", Check.get(admin.listPartitionReassignments(Set.of(tp)).reassignments()).size(), 0);
        }
    }

    static void replicaLogDirs(Check check) throws Exception {
        Admins.create(check, check.topic, 1);
        try (Admin admin = Admins.admin(check)) {
            int node = node(admin);
            var replica = new TopicPartitionReplica(check.topic, 0, node);
            var dirs = new HashSet<>(Check.get(admin.describeLogDirs(List.of(node)).allDescriptions()).get(node).keySet());
            var found = Check.get(admin.describeReplicaLogDirs(List.of(replica)).all()).get(replica);
            check.equal("its directory", Set.of(found.getCurrentReplicaLogDir()), dirs);
            check.equal("it goes nowhere else", found.getFutureReplicaLogDir(), null);
            check.equal("its lag", found.getCurrentReplicaOffsetLag(), 0L);
            Check.get(admin.alterReplicaLogDirs(Map.of(replica, dirs.iterator().next())).all());
            check.fails("to a directory that is not there", LogDirNotFoundException.class,
                    () -> Check.get(admin.alterReplicaLogDirs(Map.of(replica, "/elsewhere")).all()));
        }
    }

    static void features(Check check) throws Exception {
        try (Admin admin = Admins.admin(check)) {
            var features = Check.get(admin.describeFeatures().featureMetadata());
            for (var one : features.finalizedFeatures().entrySet()) {
                check.isTrue("what is final is supported: " + one.getKey(),
                        features.supportedFeatures().containsKey(one.getKey()), features);
            }
            check.isTrue("there is an answer", features.supportedFeatures() != null, features);
            check.isTrue("their epoch is known", features.finalizedFeaturesEpoch().isPresent(), features);
            for (boolean only : List.of(true, false)) {
                var options = new UpdateFeaturesOptions().validateOnly(only);
                var update = Map.of("no.such.version", new FeatureUpdate((short) 1, FeatureUpdate.UpgradeType.UPGRADE));
                check.fails("an unknown one, validateOnly=" + only, InvalidUpdateVersionException.class,
                        () -> Check.get(admin.updateFeatures(update, options).all()));
            }
        }
    }

    static void metadataQuorum(Check check) throws Exception {
        try (Admin admin = Admins.admin(check)) {
            int node = node(admin);
            var quorum = Check.get(admin.describeMetadataQuorum().quorumInfo());
            check.equal("leader", quorum.leaderId(), node);
            check.equal("voters", quorum.voters().stream().map(one -> one.replicaId()).toList(), List.of(node));
            check.equal("observers", quorum.observers().size(), 0);
            check.equal("nobody lags", quorum.voters().get(0).logEndOffset(), quorum.highWatermark());
            var endpoint = quorum.nodes().get(node).endpoints().get(0);
            check.equal("endpoint", endpoint.host() + ":" + endpoint.port(), check.bootstrap);
        }
    }

    /** Configs of this broker and of all: set, validated, told with their sources, deleted. */
    static void brokerConfigs(Check check) throws Exception {
        Admins.create(check, check.topic, 1);
        var topic = new ConfigResource(ConfigResource.Type.TOPIC, check.topic);
        var all = new ConfigResource(ConfigResource.Type.BROKER, "");
        String name = "log.cleaner.min.cleanable.ratio";
        try (Admin admin = Admins.admin(check)) {
            var one = new ConfigResource(ConfigResource.Type.BROKER, String.valueOf(node(admin)));
            Check.get(admin.incrementalAlterConfigs(Map.of(all, List.of(set(name, "0.25")))).all());
            try {
                Check.get(admin.incrementalAlterConfigs(Map.of(one, List.of(set(name, "0.75")))).all());
                Check.get(admin.incrementalAlterConfigs(
                        Map.of(one, List.of(set(name, "0.1"))), new AlterConfigsOptions().validateOnly(true)).all());
                var options = new DescribeConfigsOptions().includeSynonyms(true);
                var told = Check.get(admin.describeConfigs(List.of(one, all, topic), options).all());
                check.equal("of this broker", sources(told.get(one).get(name)),
                        List.of("0.75 DYNAMIC_BROKER_CONFIG", "0.25 DYNAMIC_DEFAULT_BROKER_CONFIG", "0.5 DEFAULT_CONFIG"));
                check.equal("it can be written", told.get(one).get(name).isReadOnly(), false);
                check.equal("of all brokers", sources(told.get(all).get(name)), List.of("0.25 DYNAMIC_DEFAULT_BROKER_CONFIG"));
                check.equal("nothing else of all", told.get(all).entries().size(), 1);
                check.equal("a topic has it", told.get(topic).get("min.cleanable.dirty.ratio").value(), "0.75");
                check.equal("listeners", told.get(one).get("listeners").source(), ConfigEntry.ConfigSource.STATIC_BROKER_CONFIG);
                check.fails("what is fixed", InvalidRequestException.class,
                        () -> Check.get(admin.incrementalAlterConfigs(Map.of(one, List.of(set("node.id", "5")))).all()));
                check.fails("a bad value", InvalidRequestException.class,
                        () -> Check.get(admin.incrementalAlterConfigs(Map.of(all, List.of(set(name, "2")))).all()));
            } finally {
                var end = List.of(new AlterConfigOp(new ConfigEntry(name, null), AlterConfigOp.OpType.DELETE));
                Check.get(admin.incrementalAlterConfigs(Map.of(one, end, all, end)).all());
            }
            var told = Check.get(admin.describeConfigs(List.of(all, topic)).all());
            check.equal("nothing is left of all", told.get(all).entries().size(), 0);
            check.equal("nor of the topic", told.get(topic).get("min.cleanable.dirty.ratio").isDefault(), true);
        }
    }

    private static AlterConfigOp set(String name, String value) {
        return new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET);
    }

    private static List<String> sources(ConfigEntry entry) {
        return entry.synonyms().stream().map(one -> one.value() + " " + one.source()).toList();
    }
}
