package kgw;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Properties;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.Config;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.CreateTopicsOptions;
import org.apache.kafka.clients.admin.DescribeClusterOptions;
import org.apache.kafka.clients.admin.DescribeConfigsOptions;
import org.apache.kafka.clients.admin.ListOffsetsResult.ListOffsetsResultInfo;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.admin.TopicDescription;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicCollection;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.Uuid;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.errors.InvalidConfigurationException;
import org.apache.kafka.common.errors.InvalidPartitionsException;
import org.apache.kafka.common.errors.InvalidReplicationFactorException;
import org.apache.kafka.common.errors.InvalidTopicException;
import org.apache.kafka.common.errors.OffsetOutOfRangeException;
import org.apache.kafka.common.errors.RecordTooLargeException;
import org.apache.kafka.common.errors.TopicExistsException;
import org.apache.kafka.common.errors.UnknownTopicIdException;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;
import org.apache.kafka.common.errors.UnsupportedVersionException;

/** AdminClient. */
final class Admins {
    private Admins() {}

    static Admin admin(Check check) {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", check.bootstrap);
        properties.put("default.api.timeout.ms", "20000");
        properties.put("request.timeout.ms", "10000");
        return Admin.create(properties);
    }

    static void create(Check check, String topic, int partitions) throws Exception {
        create(check, topic, partitions, Map.of());
    }

    static void create(Check check, String topic, int partitions, Map<String, String> configs) throws Exception {
        try (Admin admin = admin(check)) {
            Check.get(admin.createTopics(List.of(new NewTopic(topic, partitions, (short) 1).configs(configs))).all());
        }
    }

    static long end(Check check, String topic, int partition) throws Exception {
        try (Admin admin = admin(check)) {
            var tp = new TopicPartition(topic, partition);
            return Check.get(admin.listOffsets(Map.of(tp, OffsetSpec.latest())).partitionResult(tp)).offset();
        }
    }

    static void createTopics(Check check) throws Exception {
        String one = check.name();
        String two = check.name();
        String three = check.name();
        try (Admin admin = admin(check)) {
            var result = admin.createTopics(List.of(
                    new NewTopic(one, 4, (short) 3).configs(Map.of("retention.ms", "1234567", "cleanup.policy", "compact")),
                    new NewTopic(two, Optional.empty(), Optional.empty()),
                    new NewTopic(three, Map.of(0, List.of(1), 1, List.of(1)))));
            Check.get(result.all());
            check.equal("partitions", Check.get(result.numPartitions(one)), 4);
            check.equal("three replicas are taken as one", Check.get(result.replicationFactor(one)), 1);
            check.equal("partitions by default", Check.get(result.numPartitions(two)), 1);
            check.equal("partitions by assignment", Check.get(result.numPartitions(three)), 2);
            Config config = Check.get(result.config(one));
            check.equal("config in the answer", config.get("retention.ms").value(), "1234567");
            check.equal("its source", config.get("retention.ms").source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
            check.equal("a default in the answer", config.get("max.message.bytes").isDefault(), true);
            var described = Check.get(admin.describeTopics(List.of(one, two, three)).allTopicNames());
            for (String name : List.of(one, two, three)) {
                check.equal("topic id", described.get(name).topicId(), Check.get(result.topicId(name)));
                check.isTrue("it is an id", !described.get(name).topicId().equals(Uuid.ZERO_UUID), "zero");
            }
            check.equal("partitions of one", described.get(one).partitions().size(), 4);
            check.fails("creating again", TopicExistsException.class,
                    () -> Check.get(admin.createTopics(List.of(new NewTopic(one, 1, (short) 1))).all()));
        }
    }

    static void validateOnly(Check check) throws Exception {
        try (Admin admin = admin(check)) {
            var options = new CreateTopicsOptions().validateOnly(true);
            var result = admin.createTopics(List.of(new NewTopic(check.topic, 3, (short) 1)), options);
            Check.get(result.all());
            check.equal("partitions", Check.get(result.numPartitions(check.topic)), 3);
            check.isTrue("it was not created", !Check.get(admin.listTopics().names()).contains(check.topic), "it was");
            check.fails("validation looks at configs", InvalidConfigurationException.class,
                    () -> Check.get(admin.createTopics(List.of(
                            new NewTopic(check.topic, 3, (short) 1).configs(Map.of("cleanup.policy", "burn"))), options).all()));
        }
    }

    static void createRefused(Check check) throws Exception {
        try (Admin admin = admin(check)) {
            check.fails("no partitions", InvalidPartitionsException.class,
                    () -> Check.get(admin.createTopics(List.of(new NewTopic(check.topic, 0, (short) 1))).all()));
            check.fails("no replicas", InvalidReplicationFactorException.class,
                    () -> Check.get(admin.createTopics(List.of(new NewTopic(check.topic, 1, (short) 0))).all()));
            check.fails("a bad name", InvalidTopicException.class,
                    () -> Check.get(admin.createTopics(List.of(new NewTopic("bad/name", 1, (short) 1))).all()));
            Throwable unknown = check.fails("an unknown config", InvalidConfigurationException.class,
                    () -> Check.get(admin.createTopics(List.of(
                            new NewTopic(check.topic, 1, (short) 1).configs(Map.of("retention.m", "1")))).all()));
            check.isTrue("the message names it", unknown.getMessage().contains("retention.m"), unknown.getMessage());
            var mixed = admin.createTopics(List.of(
                    new NewTopic(check.topic, 2, (short) 1), new NewTopic("bad/name", 1, (short) 1)));
            Check.get(mixed.values().get(check.topic));
            check.fails("one of two fails", InvalidTopicException.class, () -> Check.get(mixed.values().get("bad/name")));
        }
    }

    static void listTopics(Check check) throws Exception {
        create(check, check.topic, 2);
        try (Admin admin = admin(check)) {
            var listings = Check.get(admin.listTopics().namesToListings());
            check.isTrue("it is listed", listings.containsKey(check.topic), listings.keySet());
            check.equal("not internal", listings.get(check.topic).isInternal(), false);
            check.equal("its id", listings.get(check.topic).topicId(),
                    Check.get(admin.describeTopics(List.of(check.topic)).allTopicNames()).get(check.topic).topicId());
        }
    }

    static void describeTopics(Check check) throws Exception {
        create(check, check.topic, 3);
        try (Admin admin = admin(check)) {
            TopicDescription byName = Check.get(admin.describeTopics(List.of(check.topic)).allTopicNames()).get(check.topic);
            TopicDescription byId = Check.get(admin.describeTopics(
                    TopicCollection.ofTopicIds(List.of(byName.topicId()))).allTopicIds()).get(byName.topicId());
            check.equal("the same by id", byId.name(), check.topic);
            for (TopicDescription description : List.of(byName, byId)) {
                check.equal("partitions", description.partitions().stream().map(one -> one.partition()).toList(), List.of(0, 1, 2));
                for (var partition : description.partitions()) {
                    check.equal("leader", partition.leader().host() + ":" + partition.leader().port(), check.bootstrap);
                    check.equal("replicas", partition.replicas(), List.of(partition.leader()));
                    check.equal("in sync", partition.isr(), List.of(partition.leader()));
                }
            }
            check.fails("an unknown name", UnknownTopicOrPartitionException.class,
                    () -> Check.get(admin.describeTopics(List.of("not-there")).allTopicNames()));
            check.fails("an unknown id", UnknownTopicIdException.class,
                    () -> Check.get(admin.describeTopics(TopicCollection.ofTopicIds(List.of(Uuid.randomUuid()))).allTopicIds()));
        }
    }

    static void deleteTopics(Check check) throws Exception {
        String other = check.name();
        create(check, check.topic, 1);
        create(check, other, 1);
        try (Admin admin = admin(check)) {
            Uuid id = Check.get(admin.describeTopics(List.of(other)).allTopicNames()).get(other).topicId();
            Check.get(admin.deleteTopics(List.of(check.topic)).all());
            Check.get(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all());
            Set<String> left = Check.get(admin.listTopics().names());
            check.isTrue("both are gone", !left.contains(check.topic) && !left.contains(other), left);
            check.fails("again by name", UnknownTopicOrPartitionException.class,
                    () -> Check.get(admin.deleteTopics(List.of(check.topic)).all()));
            check.fails("again by id", UnknownTopicIdException.class,
                    () -> Check.get(admin.deleteTopics(TopicCollection.ofTopicIds(List.of(id))).all()));
        }
    }

    static void describeCluster(Check check) throws Exception {
        try (Admin admin = admin(check)) {
            var cluster = admin.describeCluster(new DescribeClusterOptions().includeAuthorizedOperations(true));
            var nodes = Check.get(cluster.nodes());
            check.equal("nodes", nodes.size(), 1);
            var node = nodes.iterator().next();
            check.equal("address", node.host() + ":" + node.port(), check.bootstrap);
            check.equal("controller", Check.get(cluster.controller()), node);
            check.equal("cluster id", Check.get(cluster.clusterId()).length(), 22);
            check.isTrue("operations", Check.get(cluster.authorizedOperations()).size() >= 5,
                    Check.get(cluster.authorizedOperations()));
        }
    }

    static void describeConfigs(Check check) throws Exception {
        create(check, check.topic, 1, Map.of("retention.ms", "123456"));
        var topic = new ConfigResource(ConfigResource.Type.TOPIC, check.topic);
        try (Admin admin = admin(check)) {
            String node = Check.get(admin.describeCluster().nodes()).iterator().next().idString();
            var broker = new ConfigResource(ConfigResource.Type.BROKER, node);
            var options = new DescribeConfigsOptions().includeSynonyms(true).includeDocumentation(true);
            var all = Check.get(admin.describeConfigs(List.of(topic, broker), options).all());
            ConfigEntry retention = all.get(topic).get("retention.ms");
            check.equal("value", retention.value(), "123456");
            check.equal("source", retention.source(), ConfigEntry.ConfigSource.DYNAMIC_TOPIC_CONFIG);
            check.equal("type", retention.type(), ConfigEntry.ConfigType.LONG);
            check.equal("first synonym", retention.synonyms().get(0).value(), "123456");
            check.isTrue("documentation", retention.documentation().length() > 20, retention.documentation());
            check.equal("a default", all.get(topic).get("cleanup.policy").value(), "delete");
            check.equal("its source", all.get(topic).get("cleanup.policy").isDefault(), true);
            check.isTrue("topics have Kafka's configs", all.get(topic).entries().size() > 20, all.get(topic).entries().size());
            check.equal("broker id", all.get(broker).get("broker.id").value(), node);
            check.equal("broker config", all.get(broker).get("auto.create.topics.enable").value(), "true");
            check.fails("an unknown topic", UnknownTopicOrPartitionException.class, () -> Check.get(
                    admin.describeConfigs(List.of(new ConfigResource(ConfigResource.Type.TOPIC, "not-there"))).all()));
        }
    }

    static void listOffsets(Check check) throws Exception {
        create(check, check.topic, 2);
        Consuming.fill(check, check.topic, 0, 3);
        var tp = new TopicPartition(check.topic, 0);
        var empty = new TopicPartition(check.topic, 1);
        try (Admin admin = admin(check)) {
            // the largest timestamp is not the last record's
            try (var producer = Producing.producer(check)) {
                Check.get(producer.send(new ProducerRecord<>(
                        check.topic, 0, Consuming.START + 5, "k", "an old one")));
            }
            check.equal("earliest", at(admin, tp, OffsetSpec.earliest()).offset(), 0L);
            check.equal("latest", at(admin, tp, OffsetSpec.latest()).offset(), 31L);
            check.equal("leader epoch", at(admin, tp, OffsetSpec.latest()).leaderEpoch().get(), 0);
            check.equal("max timestamp", at(admin, tp, OffsetSpec.maxTimestamp()).offset(), 29L);
            check.equal("its time", at(admin, tp, OffsetSpec.maxTimestamp()).timestamp(), Consuming.START + 29_000);
            check.equal("by time", at(admin, tp, OffsetSpec.forTimestamp(Consuming.START + 12_000)).offset(), 12L);
            check.equal("its time", at(admin, tp, OffsetSpec.forTimestamp(Consuming.START + 12_000)).timestamp(), Consuming.START + 12_000);
            check.equal("none after the last", at(admin, tp, OffsetSpec.forTimestamp(Consuming.START + 90_000)).offset(), -1L);
            check.equal("max timestamp of an empty log", at(admin, empty, OffsetSpec.maxTimestamp()).offset(), -1L);
            check.equal("earliest local", at(admin, tp, OffsetSpec.earliestLocal()).offset(), 0L);
            check.equal("latest tiered", at(admin, tp, OffsetSpec.latestTiered()).offset(), -1L);
        }
    }

    private static ListOffsetsResultInfo at(Admin admin, TopicPartition tp, OffsetSpec spec) throws Exception {
        return Check.get(admin.listOffsets(Map.of(tp, spec)).partitionResult(tp));
    }

    static void createPartitions(Check check) throws Exception {
        create(check, check.topic, 2);
        Consuming.fill(check, check.topic, 1, 1);
        try (Admin admin = admin(check)) {
            Check.get(admin.createPartitions(Map.of(check.topic, NewPartitions.increaseTo(5))).all());
            check.equal("partitions", Check.get(admin.describeTopics(List.of(check.topic)).allTopicNames())
                    .get(check.topic).partitions().size(), 5);
            check.fails("fewer than there are", InvalidPartitionsException.class,
                    () -> Check.get(admin.createPartitions(Map.of(check.topic, NewPartitions.increaseTo(3))).all()));
        }
        Consuming.fill(check, check.topic, 4, 1);
        for (int partition : List.of(1, 4)) {
            check.equal("values of " + partition,
                    Consuming.texts(Consuming.all(check, check.topic, partition, 0, 10)), Producing.values("v", 10));
        }
    }

    static void deleteRecords(Check check) throws Exception {
        create(check, check.topic, 1);
        Consuming.fill(check, check.topic, 0, 3);
        var tp = new TopicPartition(check.topic, 0);
        try (Admin admin = admin(check)) {
            var result = admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(15)));
            check.equal("low watermark", Check.get(result.lowWatermarks().get(tp)).lowWatermark(), 15L);
            check.equal("earliest", at(admin, tp, OffsetSpec.earliest()).offset(), 15L);
            check.equal("latest", at(admin, tp, OffsetSpec.latest()).offset(), 30L);
            check.equal("the first record left is inside a batch",
                    Consuming.texts(Consuming.all(check, check.topic, 0, 15, 15)), Producing.values("v", 30).subList(15, 30));
            check.fails("beyond the end", OffsetOutOfRangeException.class,
                    () -> Check.get(admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(31))).all()));
            Check.get(admin.deleteRecords(Map.of(tp, RecordsToDelete.beforeOffset(-1))).all());
            check.equal("all of them", at(admin, tp, OffsetSpec.earliest()).offset(), 30L);
        }
        try (var producer = Producing.producer(check)) {
            check.equal("offsets go on", Check.get(producer.send(new ProducerRecord<>(check.topic, 0, "k", "next"))).offset(), 30L);
        }
    }

    static void alterConfigs(Check check) throws Exception {
        create(check, check.topic, 1, Map.of("retention.ms", "123456"));
        var topic = new ConfigResource(ConfigResource.Type.TOPIC, check.topic);
        try (Admin admin = admin(check)) {
            Check.get(admin.incrementalAlterConfigs(Map.of(topic, List.of(
                    new AlterConfigOp(new ConfigEntry("max.message.bytes", "2000"), AlterConfigOp.OpType.SET),
                    new AlterConfigOp(new ConfigEntry("cleanup.policy", "compact"), AlterConfigOp.OpType.APPEND),
                    new AlterConfigOp(new ConfigEntry("retention.ms", null), AlterConfigOp.OpType.DELETE)))).all());
            Config config = Check.get(admin.describeConfigs(List.of(topic)).all()).get(topic);
            check.equal("set", config.get("max.message.bytes").value(), "2000");
            check.equal("appended", config.get("cleanup.policy").value(), "delete,compact");
            check.equal("deleted", config.get("retention.ms").isDefault(), true);
            check.fails("a bad value", InvalidConfigurationException.class, () -> Check.get(admin.incrementalAlterConfigs(
                    Map.of(topic, List.of(new AlterConfigOp(
                            new ConfigEntry("max.message.bytes", "many"), AlterConfigOp.OpType.SET)))).all()));
        }
        try (var producer = Producing.producer(check)) {
            check.fails("the new limit holds", RecordTooLargeException.class,
                    () -> Check.get(producer.send(new ProducerRecord<>(check.topic, 0, "k", "x".repeat(3000)))));
        }
    }

    static void describeLogs(Check check) throws Exception {
        create(check, check.topic, 1);
        Consuming.fill(check, check.topic, 0, 2);
        var tp = new TopicPartition(check.topic, 0);
        try (Admin admin = admin(check)) {
            int node = Check.get(admin.describeCluster().nodes()).iterator().next().id();
            var dirs = Check.get(admin.describeLogDirs(List.of(node)).allDescriptions()).get(node);
            check.equal("one directory", dirs.size(), 1);
            var replica = dirs.values().iterator().next().replicaInfos().get(tp);
            check.isTrue("the partition has a size", replica != null && replica.size() > 200, replica);
            try (var producer = Producing.producer(check)) {
                Check.get(producer.send(new ProducerRecord<>(check.topic, 0, "k", "v")));
                var producers = Check.get(admin.describeProducers(List.of(tp)).partitionResult(tp)).activeProducers();
                var last = producers.stream().max(java.util.Comparator.comparingLong(one -> one.lastTimestamp())).get();
                check.equal("producers: one that filled, one now", producers.size(), 2);
                check.equal("the last one's sequence", last.lastSequence(), 0);
                check.equal("its epoch", last.producerEpoch(), 0);
            }
        }
    }

    /** What is not served, and is not going to be: the client says so at once. */
    static void absent(Check check) throws Exception {
        try (Admin admin = admin(check)) {
            unsupported(check, "createDelegationToken", () -> Check.get(admin.createDelegationToken().delegationToken()));
            unsupported(check, "unregisterBroker", () -> Check.get(admin.unregisterBroker(9).all()));
        }
    }

    private static void unsupported(Check check, String call, Check.Action action) {
        long began = System.nanoTime();
        Throwable thrown = check.fails(call, UnsupportedVersionException.class, action);
        long took = (System.nanoTime() - began) / 1_000_000;
        check.isTrue(call + " fails at once", took < 5000, took);
        check.isTrue(call + " says what is missing", String.valueOf(thrown.getMessage()).contains("support"), thrown);
    }
}
