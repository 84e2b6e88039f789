package kgw;

import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.stream.IntStream;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.DescribeTopicsOptions;
import org.apache.kafka.clients.admin.ListConfigResourcesOptions;
import org.apache.kafka.clients.admin.NewPartitionReassignment;
import org.apache.kafka.common.ElectionType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.TopicPartitionReplica;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.ElectionNotNeededException;
import org.apache.kafka.common.errors.InvalidReplicaAssignmentException;
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
        }
    }
}
