package kgw;

import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.ListConsumerGroupOffsetsSpec;
import org.apache.kafka.clients.admin.ListGroupsOptions;
import org.apache.kafka.clients.admin.MemberDescription;
import org.apache.kafka.clients.admin.MemberToRemove;
import org.apache.kafka.clients.admin.RemoveMembersFromConsumerGroupOptions;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.consumer.OffsetAndMetadata;
import org.apache.kafka.common.ClassicGroupState;
import org.apache.kafka.common.GroupState;
import org.apache.kafka.common.GroupType;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.GroupIdNotFoundException;
import org.apache.kafka.common.errors.GroupNotEmptyException;
import org.apache.kafka.common.errors.GroupSubscribedToTopicException;
import org.apache.kafka.common.errors.UnknownMemberIdException;

/** AdminClient: its calls for groups. */
final class Groups {
    private Groups() {}

    interface Use {
        void run(Admin admin, KafkaConsumer<String, String> consumer) throws Exception;
    }

    /** A group named as the topic, of one static member that has read 10 records and committed. */
    private static void withGroup(Check check, Use use) throws Exception {
        Admins.create(check, check.topic, 2);
        Consuming.fill(check, check.topic, 0, 2);
        try (Admin admin = Admins.admin(check);
                var consumer = Consuming.consumer(check, "group.id", check.topic, "auto.offset.reset", "earliest",
                        "group.instance.id", "static-one", "client.id", "reader", "max.poll.records", "10")) {
            consumer.subscribe(List.of(check.topic));
            check.equal("records", Consuming.poll(consumer, 10).size(), 10);
            consumer.commitSync();
            use.run(admin, consumer);
        }
    }

    private static void empty(Check check, Admin admin) throws Exception {
        Check.get(admin.removeMembersFromConsumerGroup(check.topic, new RemoveMembersFromConsumerGroupOptions()).all());
    }

    static void list(Check check) throws Exception {
        withGroup(check, (admin, consumer) -> {
            var all = Check.get(admin.listGroups().all());
            var one = all.stream().filter(group -> group.groupId().equals(check.topic)).findFirst().get();
            check.equal("type", one.type().get(), GroupType.CLASSIC);
            check.equal("protocol", one.protocol(), "consumer");
            check.equal("state", one.groupState().get(), GroupState.STABLE);
            check.equal("not a simple consumer", one.isSimpleConsumerGroup(), false);
            for (GroupState state : List.of(GroupState.STABLE, GroupState.EMPTY)) {
                var found = Check.get(admin.listGroups(new ListGroupsOptions().inGroupStates(Set.of(state))).all());
                check.equal("listed as " + state, found.contains(one), state == GroupState.STABLE);
            }
            for (GroupType type : List.of(GroupType.CLASSIC, GroupType.SHARE)) {
                var found = Check.get(admin.listGroups(new ListGroupsOptions().withTypes(Set.of(type))).all());
                check.equal("listed as " + type, found.contains(one), type == GroupType.CLASSIC);
            }
            var consumers = Check.get(admin.listGroups(ListGroupsOptions.forConsumerGroups()).all());
            check.equal("listed as a consumer's", consumers.contains(one), true);
            var other = Check.get(admin.listGroups(new ListGroupsOptions().withProtocolTypes(Set.of("connect"))).all());
            check.equal("listed as another protocol's", other.contains(one), false);
            consumersOnly(check, admin);
        });
    }

    @SuppressWarnings("deprecation")
    private static void consumersOnly(Check check, Admin admin) throws Exception {
        var listed = Check.get(admin.listConsumerGroups().all());
        check.equal("listConsumerGroups", listed.stream().filter(one -> one.groupId().equals(check.topic))
                .map(one -> one.groupState().get()).toList(), List.of(GroupState.STABLE));
    }

    static void describe(Check check) throws Exception {
        withGroup(check, (admin, consumer) -> {
            var group = Check.get(admin.describeConsumerGroups(List.of(check.topic)).all()).get(check.topic);
            check.equal("type", group.type(), GroupType.CLASSIC);
            check.equal("state", group.groupState(), GroupState.STABLE);
            check.equal("assignor", group.partitionAssignor(), "range");
            check.equal("coordinator", group.coordinator().host() + ":" + group.coordinator().port(), check.bootstrap);
            member(check, group.members().iterator().next(), consumer);
            var classic = Check.get(admin.describeClassicGroups(List.of(check.topic)).all()).get(check.topic);
            check.equal("its state", classic.state(), ClassicGroupState.STABLE);
            check.equal("its protocol", classic.protocol(), "consumer");
            check.equal("its protocol's data", classic.protocolData(), "range");
            member(check, classic.members().iterator().next(), consumer);
            check.fails("a group that is not there", GroupIdNotFoundException.class,
                    () -> Check.get(admin.describeConsumerGroups(List.of("not-there")).all()));
            check.fails("nor as a classic one", GroupIdNotFoundException.class,
                    () -> Check.get(admin.describeClassicGroups(List.of("not-there")).all()));
        });
    }

    private static void member(Check check, MemberDescription member, KafkaConsumer<String, String> consumer) {
        check.equal("id", member.consumerId(), consumer.groupMetadata().memberId());
        check.equal("instance", member.groupInstanceId().get(), "static-one");
        check.equal("client", member.clientId(), "reader");
        check.equal("host", member.host(), "/127.0.0.1");
        check.equal("partitions", member.assignment().topicPartitions(), consumer.assignment());
        check.equal("how many", member.assignment().topicPartitions().size(), 2);
    }

    static void offsets(Check check) throws Exception {
        var tp = new TopicPartition(check.topic, 0);
        withGroup(check, (admin, consumer) -> {
            check.equal("committed", committed(check, admin).get(tp).offset(), 10L);
            var some = Map.of(check.topic, new ListConsumerGroupOffsetsSpec().topicPartitions(List.of(tp)),
                    "not-there", new ListConsumerGroupOffsetsSpec());
            var listed = Check.get(admin.listConsumerGroupOffsets(some).all());
            check.equal("of one partition", listed.get(check.topic).keySet(), Set.of(tp));
            check.equal("of a group that is not there", listed.get("not-there").size(), 0);
            check.fails("altering those of a group with members", UnknownMemberIdException.class,
                    () -> Check.get(admin.alterConsumerGroupOffsets(check.topic, Map.of(tp, new OffsetAndMetadata(3))).all()));
            check.fails("deleting those of a topic that is read", GroupSubscribedToTopicException.class,
                    () -> Check.get(admin.deleteConsumerGroupOffsets(check.topic, Set.of(tp)).all()));
            empty(check, admin);
            var note = new OffsetAndMetadata(3, Optional.of(0), "a note");
            Check.get(admin.alterConsumerGroupOffsets(check.topic, Map.of(tp, note)).all());
            check.equal("altered", committed(check, admin).get(tp), note);
            Check.get(admin.deleteConsumerGroupOffsets(check.topic, Set.of(tp)).all());
            check.equal("deleted", committed(check, admin).containsKey(tp), false);
            Check.get(admin.alterConsumerGroupOffsets(check.name(), Map.of(tp, new OffsetAndMetadata(1))).all());
        });
    }

    private static Map<TopicPartition, OffsetAndMetadata> committed(Check check, Admin admin) throws Exception {
        return Check.get(admin.listConsumerGroupOffsets(check.topic).partitionsToOffsetAndMetadata());
    }

    static void removeMembers(Check check) throws Exception {
        withGroup(check, (admin, consumer) -> {
            var absent = new MemberToRemove("not-there");
            var removing = admin.removeMembersFromConsumerGroup(check.topic,
                    new RemoveMembersFromConsumerGroupOptions(List.of(absent)));
            check.fails("one that is not there", UnknownMemberIdException.class,
                    () -> Check.get(removing.memberResult(absent)));
            var one = new MemberToRemove("static-one");
            Check.get(admin.removeMembersFromConsumerGroup(check.topic,
                    new RemoveMembersFromConsumerGroupOptions(List.of(one))).memberResult(one));
            check.equal("nobody is left", members(check, admin), 0);
            check.equal("state", Check.get(admin.describeConsumerGroups(List.of(check.topic)).all())
                    .get(check.topic).groupState(), GroupState.EMPTY);
        });
        try (Admin admin = Admins.admin(check)) { // members without an instance id are found and removed too
            try (var consumer = Consuming.consumer(check, "group.id", check.topic)) {
                consumer.subscribe(List.of(check.topic));
                Consuming.poll(consumer, 10);
                check.equal("one member", members(check, admin), 1);
                empty(check, admin);
                check.equal("all are removed", members(check, admin), 0);
            }
        }
    }

    private static int members(Check check, Admin admin) throws Exception {
        return Check.get(admin.describeConsumerGroups(List.of(check.topic)).all()).get(check.topic).members().size();
    }

    static void delete(Check check) throws Exception {
        withGroup(check, (admin, consumer) -> {
            check.fails("one with members", GroupNotEmptyException.class,
                    () -> Check.get(admin.deleteConsumerGroups(List.of(check.topic)).all()));
            empty(check, admin);
            var deleting = admin.deleteConsumerGroups(List.of(check.topic, "not-there"));
            Check.get(deleting.deletedGroups().get(check.topic));
            check.fails("one that is not there", GroupIdNotFoundException.class,
                    () -> Check.get(deleting.deletedGroups().get("not-there")));
            check.isTrue("it is gone", Check.get(admin.listGroups().all()).stream()
                    .noneMatch(one -> one.groupId().equals(check.topic)), "still there");
            check.equal("with its offsets", committed(check, admin).size(), 0);
        });
    }
}
