package main

import (
	"slices"

	"github.com/IBM/sarama"
	"kgw.test/check"
)

func adminTopics(version sarama.KafkaVersion) func(*check.T) {
	return func(t *check.T) {
		adm := admin(t, version)
		defer adm.Close()
		retention, bad := "777", "soon"
		detail := &sarama.TopicDetail{NumPartitions: 3, ReplicationFactor: 3, ConfigEntries: map[string]*string{"retention.ms": &retention}}
		t.Must("validating", adm.CreateTopic(t.Topic, detail, true))
		listed, err := adm.ListTopics()
		t.Must("listing", err)
		_, there := listed[t.Topic]
		t.Equal("validating creates nothing", there, false)
		t.Must("creating", adm.CreateTopic(t.Topic, detail, false))
		t.Is("creating again", adm.CreateTopic(t.Topic, detail, false), sarama.ErrTopicAlreadyExists)
		t.Is("a bad name", adm.CreateTopic("no/such name", detail, false), sarama.ErrInvalidTopic)
		wrong := &sarama.TopicDetail{NumPartitions: 1, ReplicationFactor: 1, ConfigEntries: map[string]*string{"retention.ms": &bad}}
		t.Is("a bad config", adm.CreateTopic(t.Name(), wrong, false), sarama.ErrInvalidConfig)
		listed, err = adm.ListTopics()
		t.Must("listing", err)
		t.Equal("partitions", listed[t.Topic].NumPartitions, int32(3))
		t.Equal("three replicas are taken as one", listed[t.Topic].ReplicationFactor, int16(1))
		t.True("its config is listed", listed[t.Topic].ConfigEntries["retention.ms"] != nil &&
			*listed[t.Topic].ConfigEntries["retention.ms"] == "777", listed[t.Topic].ConfigEntries)
		described, err := adm.DescribeTopics([]string{t.Topic, "not-there"})
		t.Must("describing", err)
		for _, topic := range described {
			if topic.Name == "not-there" {
				t.Equal("a topic that is not there", topic.Err, sarama.ErrUnknownTopicOrPartition)
				continue
			}
			t.Equal("error", topic.Err, sarama.ErrNoError)
			t.Equal("partitions", len(topic.Partitions), 3)
			t.Equal("leader", topic.Partitions[0].Leader, int32(1))
		}
		t.Equal("described", len(described), 2)
		brokers, controller, err := adm.DescribeCluster()
		t.Must("describing the cluster", err)
		t.Equal("brokers", len(brokers), 1)
		t.Equal("address", brokers[0].Addr(), t.Bootstrap)
		t.Equal("controller", controller, brokers[0].ID())
		t.Must("deleting", adm.DeleteTopic(t.Topic))
		t.Is("deleting again", adm.DeleteTopic(t.Topic), sarama.ErrUnknownTopicOrPartition)
		listed, err = adm.ListTopics()
		t.Must("listing", err)
		_, there = listed[t.Topic]
		t.Equal("it is gone", there, false)
	}
}

func adminConfigs(version sarama.KafkaVersion) func(*check.T) {
	return func(t *check.T) {
		retention := "4242"
		create(t, version, t.Topic, 1, map[string]*string{"retention.ms": &retention})
		adm := admin(t, version)
		defer adm.Close()
		entries, err := adm.DescribeConfig(sarama.ConfigResource{
			Type: sarama.TopicResource, Name: t.Topic, ConfigNames: []string{"retention.ms", "cleanup.policy"},
		})
		t.Must("describing", err)
		var found []string
		for _, entry := range entries {
			found = append(found, entry.Name+"="+entry.Value)
		}
		slices.Sort(found)
		t.Equal("configs of the topic", found, []string{"cleanup.policy=delete", "retention.ms=4242"})
		broker, err := adm.DescribeConfig(sarama.ConfigResource{
			Type: sarama.BrokerResource, Name: "1", ConfigNames: []string{"auto.create.topics.enable"},
		})
		t.Must("describing the broker", err)
		t.Equal("configs of the broker", len(broker), 1)
		t.Equal("its value", broker[0].Value, "true")
	}
}
