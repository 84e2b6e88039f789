package main

import (
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
	"kgw.test/check"
)

func adminTopics(t *check.T) {
	adm := admin(t)
	defer adm.Close()
	one, two := t.Name(), t.Name()
	retention, bad := "777", "soon"
	validated, err := adm.ValidateCreateTopics(t, 2, 1, nil, one)
	t.Must("validating", err)
	t.Must("validating", validated[one].Err)
	listed, err := adm.ListTopics(t)
	t.Must("listing", err)
	t.Equal("validating creates nothing", listed.Has(one), false)
	created, err := adm.CreateTopics(t, 2, 3, map[string]*string{"retention.ms": &retention}, one, two)
	t.Must("creating", err)
	for _, name := range []string{one, two} {
		t.Must("creating", created[name].Err)
		t.Equal("partitions", created[name].NumPartitions, int32(2))
		t.Equal("three replicas are taken as one", created[name].ReplicationFactor, int16(1))
		config := created[name].Configs["retention.ms"]
		t.Equal("config in the answer", config.MaybeValue(), "777")
	}
	listed, err = adm.ListTopics(t, one, two)
	t.Must("listing", err)
	t.Equal("topics", len(listed), 2)
	t.Equal("id", listed[one].ID, created[one].ID)
	t.True("the ids differ", listed[one].ID != listed[two].ID, listed[one].ID)
	t.Equal("partitions", len(listed[one].Partitions), 2)
	refused, err := adm.CreateTopics(t, 1, 1, nil, one, "no/such name")
	t.Must("creating again", err)
	t.Is("creating again", refused[one].Err, kerr.TopicAlreadyExists)
	t.Is("a bad name", refused["no/such name"].Err, kerr.InvalidTopicException)
	refused, err = adm.CreateTopics(t, 1, 1, map[string]*string{"retention.ms": &bad}, t.Topic)
	t.Must("creating", err)
	t.Is("a bad config", refused[t.Topic].Err, kerr.InvalidConfig)
	deleted, err := adm.DeleteTopics(t, one, "not-there")
	t.Must("deleting", err)
	t.Equal("deleted", deleted[one].Err, nil)
	t.Is("deleting what is not there", deleted["not-there"].Err, kerr.UnknownTopicOrPartition)
	byID := kmsg.NewPtrDeleteTopicsRequest()
	topic := kmsg.NewDeleteTopicsRequestTopic()
	topic.TopicID = created[two].ID
	byID.Topics = append(byID.Topics, topic)
	cl := client(t)
	defer cl.Close()
	answer, err := byID.RequestWith(t, cl)
	t.Must("deleting by id", err)
	t.Equal("deleting by id", kerr.ErrorForCode(answer.Topics[0].ErrorCode), nil)
	t.Equal("the answer has the name", *answer.Topics[0].Topic, two)
	fresh := admin(t) // the first has its metadata still
	defer fresh.Close()
	listed, err = fresh.ListTopics(t)
	t.Must("listing", err)
	t.Equal("both are gone", listed.Has(one) || listed.Has(two), false)
}

func adminOffsets(t *check.T) {
	create(t, t.Topic, 2, nil)
	fill(t, t.Topic, 0, 3)
	adm := admin(t)
	defer adm.Close()
	at := func(listed kadm.ListedOffsets, err error) string {
		t.Must("listing offsets", err)
		text := ""
		for partition := range int32(2) {
			offset, found := listed.Lookup(t.Topic, partition)
			if !found {
				text += "absent "
				continue
			}
			t.Must("listing offsets", offset.Err)
			text += fmt.Sprintf("%d@%d ", offset.Offset, offset.Timestamp)
		}
		return text
	}
	t.Equal("start", at(adm.ListStartOffsets(t, t.Topic)), "0@-1 0@-1 ")
	t.Equal("end", at(adm.ListEndOffsets(t, t.Topic)), "30@-1 0@-1 ")
	t.Equal("committed", at(adm.ListCommittedOffsets(t, t.Topic)), "30@-1 0@-1 ")
	t.Equal("largest timestamp", at(adm.ListMaxTimestampOffsets(t, t.Topic)), fmt.Sprintf("29@%d -1@-1 ", start+29_000))
	for after, want := range map[int64]string{
		start - 1: fmt.Sprintf("0@%d 0@-1 ", start), start + 13_001: fmt.Sprintf("14@%d 0@-1 ", start+14_000),
		start + 29_001: "30@-1 0@-1 ",
	} {
		t.Equal("after a time, else the end", at(adm.ListOffsetsAfterMilli(t, after, t.Topic)), want)
	}
}

func adminConfigs(t *check.T) {
	retention := "4242"
	create(t, t.Topic, 1, map[string]*string{"retention.ms": &retention})
	adm := admin(t)
	defer adm.Close()
	described, err := adm.DescribeTopicConfigs(t, t.Topic, "not-there")
	t.Must("describing", err)
	one, err := described.On(t.Topic, nil)
	t.Must("describing", err)
	t.Must("describing", one.Err)
	found := map[string]string{}
	for _, config := range one.Configs {
		found[config.Key] = fmt.Sprintf("%s %s", config.MaybeValue(), config.Source)
		if config.Key == "retention.ms" { // the default is another config's, log.retention.hours, and not told alone
			t.Equal("synonyms", len(config.Synonyms), 1)
			t.Equal("where it comes from", config.Synonyms[0].Source, kmsg.ConfigSourceDynamicTopicConfig)
		}
	}
	t.Equal("retention", found["retention.ms"], "4242 DYNAMIC_TOPIC_CONFIG")
	t.Equal("a default", found["cleanup.policy"], "delete DEFAULT_CONFIG")
	t.True("there are Kafka's configs", len(found) > 20, len(found))
	other, err := described.On("not-there", nil)
	t.Must("describing", err)
	t.Is("a topic that is not there", other.Err, kerr.UnknownTopicOrPartition)
	brokers, err := adm.DescribeBrokerConfigs(t, 1)
	t.Must("describing the broker", err)
	broker, err := brokers.On("1", nil)
	t.Must("describing the broker", err)
	t.Must("describing the broker", broker.Err)
	values := map[string]string{}
	for _, config := range broker.Configs {
		values[config.Key] = config.MaybeValue()
	}
	t.Equal("node id", values["node.id"], "1")
	t.Equal("auto creation", values["auto.create.topics.enable"], "true")
}

func adminCluster(t *check.T) {
	create(t, t.Topic, 1, nil)
	adm := admin(t)
	defer adm.Close()
	name, slow, slower := "log.cleaner.delete.retention.ms", "81000", "82000"
	alter := func(op kadm.IncrementalOp, value *string, brokers ...int32) error {
		altered, err := adm.AlterBrokerConfigs(t, []kadm.AlterConfig{{Op: op, Name: name, Value: value}}, brokers...)
		if err != nil {
			return err
		}
		return altered[0].Err
	}
	told := func(described kadm.ResourceConfigs, err error) map[string]string {
		t.Must("describing", err)
		t.Must("describing", described[0].Err)
		found := map[string]string{}
		for _, config := range described[0].Configs {
			found[config.Key] = fmt.Sprintf("%s %s", config.MaybeValue(), config.Source)
		}
		return found
	}
	t.Must("for all brokers", alter(kadm.SetConfig, &slow))
	t.Equal("of all brokers", told(adm.DescribeBrokerConfigs(t)), map[string]string{name: "81000 DYNAMIC_DEFAULT_BROKER_CONFIG"})
	t.Must("for this broker", alter(kadm.SetConfig, &slower, 1))
	t.Equal("of this broker", told(adm.DescribeBrokerConfigs(t, 1))[name], "82000 DYNAMIC_BROKER_CONFIG")
	t.Equal("of a topic", told(adm.DescribeTopicConfigs(t, t.Topic))["delete.retention.ms"], "82000 DYNAMIC_BROKER_CONFIG")
	t.Must("this broker's end", alter(kadm.DeleteConfig, nil, 1))
	t.Must("the end for all", alter(kadm.DeleteConfig, nil))
	t.Equal("of a topic", told(adm.DescribeTopicConfigs(t, t.Topic))["delete.retention.ms"], "86400000 DEFAULT_CONFIG")
	t.Equal("nothing is left", told(adm.DescribeBrokerConfigs(t)), map[string]string{})

	move := kadm.AlterReplicaLogDirsReq{}
	move.Add("/elsewhere", kadm.TopicsSet{t.Topic: {0: {}}})
	moved, err := adm.AlterAllReplicaLogDirs(t, move)
	t.Must("moving a replica", err)
	moved.Each(func(one kadm.AlterReplicaLogDirsResponse) {
		t.Is("a directory that is not there", one.Err, kerr.LogDirNotFound)
	})

	cl := client(t)
	defer cl.Close()
	ask := kmsg.NewPtrDescribeQuorumRequest()
	topic, partition := kmsg.NewDescribeQuorumRequestTopic(), kmsg.NewDescribeQuorumRequestTopicPartition()
	topic.Topic, topic.Partitions = "__cluster_metadata", append(topic.Partitions, partition)
	ask.Topics = append(ask.Topics, topic)
	quorum, err := ask.RequestWith(t, cl)
	t.Must("the quorum", err)
	t.Must("the quorum", kerr.ErrorForCode(quorum.ErrorCode))
	found := quorum.Topics[0].Partitions[0]
	t.Equal("leader", found.LeaderID, int32(1))
	t.Equal("voters", len(found.CurrentVoters), 1)
	t.Equal("nobody lags", found.CurrentVoters[0].LogEndOffset, found.HighWatermark)

	update := kmsg.NewPtrUpdateFeaturesRequest()
	feature := kmsg.NewUpdateFeaturesRequestFeatureUpdate()
	feature.Feature, feature.MaxVersionLevel = "transaction.version", 2
	update.ValidateOnly, update.FeatureUpdates = true, append(update.FeatureUpdates, feature)
	updated, err := update.RequestWith(t, cl)
	t.Must("updating features", err)
	t.Is("a feature that is not there", kerr.ErrorForCode(updated.ErrorCode), kerr.InvalidUpdateVersion)
}

func adminMetadata(t *check.T) {
	create(t, t.Topic, 3, nil)
	adm := admin(t)
	defer adm.Close()
	meta, err := adm.Metadata(t, t.Topic)
	t.Must("metadata", err)
	t.Equal("cluster id", len(meta.Cluster), 22)
	t.Equal("brokers", len(meta.Brokers), 1)
	t.Equal("address", fmt.Sprintf("%s:%d", meta.Brokers[0].Host, meta.Brokers[0].Port), t.Bootstrap)
	t.Equal("controller", meta.Controller, meta.Brokers[0].NodeID)
	t.Equal("partitions", len(meta.Topics[t.Topic].Partitions), 3)
	for _, partition := range meta.Topics[t.Topic].Partitions {
		t.Equal("replicas", partition.Replicas, []int32{meta.Controller})
		t.Equal("in sync", partition.ISR, []int32{meta.Controller})
		t.Equal("offline", len(partition.OfflineReplicas), 0)
	}
	unknown, err := adm.Metadata(t, "not-there-"+t.Topic)
	t.Must("metadata", err)
	t.Is("a topic that is not there", unknown.Topics["not-there-"+t.Topic].Err, kerr.UnknownTopicOrPartition)
	served, err := adm.ApiVersions(t)
	t.Must("api versions", err)
	for _, broker := range served {
		most, found := broker.KeyMaxVersion(0)
		t.Equal("Produce is served", found, true)
		t.Equal("its newest version", most, int16(13))
	}
	t.Equal("one broker answered", len(served), 1)
}

func adminChanges(t *check.T) {
	create(t, t.Topic, 1, nil)
	fill(t, t.Topic, 0, 3)
	adm := admin(t)
	defer adm.Close()
	more, err := adm.UpdatePartitions(t, 4, t.Topic)
	t.Must("more partitions", err)
	t.Must("more partitions", more.Error())
	fresh := admin(t) // the first has its metadata still
	defer fresh.Close()
	listed, err := fresh.ListTopics(t, t.Topic)
	t.Must("listing", err)
	t.Equal("partitions", len(listed[t.Topic].Partitions), 4)

	before := kadm.Offsets{}
	before.Add(kadm.Offset{Topic: t.Topic, Partition: 0, At: 15})
	cut, err := adm.DeleteRecords(t, before)
	t.Must("deleting records", err)
	one, _ := cut.Lookup(t.Topic, 0)
	t.Must("deleting records", one.Err)
	t.Equal("low watermark", one.LowWatermark, int64(15))
	t.Equal("the start is inside a batch", texts(consume(t, t.Topic, 0, kgo.NewOffset().AtStart(), 15)), check.Values("v", 30)[15:])

	bytes := "2000"
	altered, err := adm.AlterTopicConfigs(t, []kadm.AlterConfig{{Name: "max.message.bytes", Value: &bytes}}, t.Topic)
	t.Must("altering configs", err)
	t.Equal("altering configs", altered[0].Err, nil)
	described, err := adm.DescribeTopicConfigs(t, t.Topic)
	t.Must("describing", err)
	for _, config := range described[0].Configs {
		if config.Key == "max.message.bytes" {
			t.Equal("the new value", config.MaybeValue(), "2000")
		}
	}

	dirs, err := adm.DescribeAllLogDirs(t, nil)
	t.Must("describing log dirs", err)
	size := int64(-1)
	for _, broker := range dirs {
		broker.EachPartition(func(partition kadm.DescribedLogDirPartition) {
			if partition.Topic == t.Topic && partition.Partition == 0 {
				size = partition.Size
			}
		})
	}
	t.True("the partition has a size", size > 100, size)

	ask := kadm.OffsetForLeaderEpochRequest{}
	ask.Add(t.Topic, 0, 0)
	epochs, err := adm.OffetForLeaderEpoch(t, ask)
	t.Must("offset for leader epoch", err)
	epoch := epochs[t.Topic][0]
	t.Equal("its error", epoch.Err, nil)
	t.Equal("its end", epoch.EndOffset, int64(30))
}
