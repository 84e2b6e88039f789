package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"kgw.test/check"
)

func clientMetadata(t *check.T) {
	create(t, t.Topic, 3)
	answer, err := client(t).Metadata(t, &kafka.MetadataRequest{Topics: []string{t.Topic}})
	t.Must("metadata", err)
	t.True("there is a cluster id", len(answer.ClusterID) == 22, answer.ClusterID)
	t.Equal("brokers", len(answer.Brokers), 1)
	broker := answer.Brokers[0]
	t.Equal("address", net.JoinHostPort(broker.Host, strconv.Itoa(broker.Port)), t.Bootstrap)
	t.Equal("controller", answer.Controller.ID, broker.ID)
	t.Equal("topics", len(answer.Topics), 1)
	t.Equal("name", answer.Topics[0].Name, t.Topic)
	t.Equal("internal", answer.Topics[0].Internal, false)
	for i, partition := range answer.Topics[0].Partitions {
		t.Equal("partition id", partition.ID, i)
		t.Equal("leader", partition.Leader.ID, broker.ID)
	}
	t.Equal("partitions", len(answer.Topics[0].Partitions), 3)
	all, err := client(t).Metadata(t, &kafka.MetadataRequest{})
	t.Must("metadata of all topics", err)
	names := map[string]bool{}
	for _, topic := range all.Topics {
		names[topic.Name] = true
	}
	t.True("all topics contain this one", names[t.Topic], len(names))
}

func clientProduceFetch(t *check.T) {
	create(t, t.Topic, 1)
	for i, name := range []string{"none", "gzip", "snappy", "lz4", "zstd"} {
		value := "the same the same the same the same, " + name
		key := name
		answer, err := client(t).Produce(t, &kafka.ProduceRequest{
			Topic: t.Topic, RequiredAcks: kafka.RequireOne, Compression: codecs[name],
			Records: kafka.NewRecordReader(records([]check.Record{
				{Key: &key, Value: &value, Timestamp: 1_700_000_000_000, Headers: [][2]string{{"codec", name}}},
				{Value: &value, Timestamp: 1_700_000_000_001},
			})...),
		})
		t.Must("producing", err)
		t.Must("producing", answer.Error)
		t.Equal("base offset", answer.BaseOffset, int64(i*2))
		t.Equal("log start", answer.LogStartOffset, int64(0))
		fetched, err := client(t).Fetch(t, &kafka.FetchRequest{
			Topic: t.Topic, Offset: int64(i * 2), MinBytes: 1, MaxBytes: 1 << 20, MaxWait: time.Second,
		})
		t.Must("fetching", err)
		t.Must("fetching", fetched.Error)
		t.Equal("high watermark", fetched.HighWatermark, int64(i*2+2))
		t.Equal("last stable offset", fetched.LastStableOffset, int64(i*2+2))
		var got []string
		for {
			record, err := fetched.Records.ReadRecord()
			if errors.Is(err, io.EOF) {
				break
			}
			t.Must("reading a record", err)
			text, err := kafka.ReadAll(record.Value)
			t.Must("reading a value", err)
			got = append(got, fmt.Sprintf("%d %d %d %s", record.Offset, record.Time.UnixMilli(), len(record.Headers), text))
		}
		t.Equal("records", got, []string{
			fmt.Sprintf("%d 1700000000000 1 %s", i*2, value), fmt.Sprintf("%d 1700000000001 0 %s", i*2+1, value),
		})
	}
	began := time.Now()
	fetched, err := client(t).Fetch(t, &kafka.FetchRequest{
		Topic: t.Topic, Offset: 10, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 500 * time.Millisecond,
	})
	t.Must("fetching at the end", err)
	t.Must("fetching at the end", fetched.Error)
	_, err = fetched.Records.ReadRecord()
	t.Is("nothing at the end", err, io.EOF)
	waited := time.Since(began)
	t.True("it waited as long as it was told", waited > 450*time.Millisecond && waited < 3*time.Second, waited.String())
}

func clientErrors(t *check.T) {
	create(t, t.Topic, 1)
	value := "x"
	produced, err := client(t).Produce(t, &kafka.ProduceRequest{
		Topic: t.Topic, RequiredAcks: kafka.RequiredAcks(2),
		Records: kafka.NewRecordReader(records([]check.Record{{Value: &value, Timestamp: 1}})...),
	})
	t.Must("producing", err)
	t.Is("acks that do not exist", produced.Error, kafka.InvalidRequiredAcks)
	answer, err := client(t).Fetch(t, &kafka.FetchRequest{
		Topic: t.Topic, Offset: 99, MinBytes: 1, MaxBytes: 1000, MaxWait: 100 * time.Millisecond,
	})
	t.Must("fetching", err)
	t.Is("an offset that is not there", answer.Error, kafka.OffsetOutOfRange)
	t.Equal("end", end(t, t.Topic, 0), int64(0))
}

func clientListOffsets(t *check.T) {
	create(t, t.Topic, 2)
	start := fill(t, t.Topic, 1, 3)
	answer, err := client(t).ListOffsets(t, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		t.Topic: {
			kafka.FirstOffsetOf(0), kafka.LastOffsetOf(0),
			kafka.FirstOffsetOf(1), kafka.LastOffsetOf(1), kafka.TimeOffsetOf(1, start.Add(12*time.Second)),
		},
	}})
	t.Must("listing offsets", err)
	t.Equal("partitions", len(answer.Topics[t.Topic]), 2)
	for _, partition := range answer.Topics[t.Topic] {
		t.Must("listing offsets", partition.Error)
		t.Equal("first", partition.FirstOffset, int64(0))
		t.Equal("last", partition.LastOffset, int64(30*partition.Partition))
		if partition.Partition == 1 {
			t.Equal("one by time", len(partition.Offsets), 1)
			t.Equal("its time", partition.Offsets[12].UnixMilli(), start.Add(12*time.Second).UnixMilli())
		}
	}
	answer, err = client(t).ListOffsets(t, &kafka.ListOffsetsRequest{Topics: map[string][]kafka.OffsetRequest{
		t.Topic: {kafka.LastOffsetOf(9)},
	}})
	t.Must("listing offsets", err)
	t.Is("a partition that is not there", answer.Topics[t.Topic][0].Error, kafka.UnknownTopicOrPartition)
}

func clientTopics(t *check.T) {
	one, two, three := t.Name(), t.Name(), t.Name()
	request := &kafka.CreateTopicsRequest{ValidateOnly: true, Topics: []kafka.TopicConfig{
		{Topic: one, NumPartitions: 2, ReplicationFactor: 3},
		{Topic: two, NumPartitions: -1, ReplicationFactor: -1},
		{Topic: three, NumPartitions: 0, ReplicationFactor: 1},
	}}
	for _, validateOnly := range []bool{true, false} {
		request.ValidateOnly = validateOnly
		ctx, cancel := context.WithTimeout(t, 2*time.Second) // kafka-go waits for topics that it only validates
		answer, err := client(t).CreateTopics(ctx, request)
		cancel()
		t.Must("creating", err)
		t.Equal("three replicas are taken as one", answer.Errors[one], nil)
		t.Equal("the broker's defaults", answer.Errors[two], nil)
		t.Is("no partitions", answer.Errors[three], kafka.InvalidPartitionNumber)
		meta, err := client(t).Metadata(t, &kafka.MetadataRequest{Topics: []string{one, two}})
		t.Must("metadata", err)
		for _, topic := range meta.Topics {
			if validateOnly {
				t.Is("only validated", topic.Error, kafka.UnknownTopicOrPartition)
				continue
			}
			t.Equal("created", topic.Error, nil)
			t.Equal("partitions", len(topic.Partitions), map[string]int{one: 2, two: 1}[topic.Name])
			t.Equal("replicas", len(topic.Partitions[0].Replicas), 1)
		}
	}
	answer, err := client(t).CreateTopics(t, request)
	t.Must("creating again", err)
	t.Is("creating again", answer.Errors[one], kafka.TopicAlreadyExists)
	deleted, err := client(t).DeleteTopics(t, &kafka.DeleteTopicsRequest{Topics: []string{one, three}})
	t.Must("deleting", err)
	t.Equal("deleted", deleted.Errors[one], nil)
	t.Is("deleting what was never there", deleted.Errors[three], kafka.UnknownTopicOrPartition)

	// the same name again: a new, empty log
	create(t, t.Topic, 1)
	fill(t, t.Topic, 0, 1)
	_, err = client(t).DeleteTopics(t, &kafka.DeleteTopicsRequest{Topics: []string{t.Topic}})
	t.Must("deleting", err)
	create(t, t.Topic, 1)
	t.Equal("the end after deleting and creating", end(t, t.Topic, 0), int64(0))
}

func clientDescribeConfigs(t *check.T) {
	create(t, t.Topic, 1, kafka.ConfigEntry{ConfigName: "retention.ms", ConfigValue: "123456"})
	answer, err := client(t).DescribeConfigs(t, &kafka.DescribeConfigsRequest{
		Resources: []kafka.DescribeConfigRequestResource{
			{ResourceType: kafka.ResourceTypeTopic, ResourceName: t.Topic,
				ConfigNames: []string{"retention.ms", "cleanup.policy", "no.such.config"}},
			{ResourceType: kafka.ResourceTypeTopic, ResourceName: "not-there"},
		},
	})
	t.Must("describing", err)
	t.Equal("resources", len(answer.Resources), 2)
	t.Equal("error", answer.Resources[0].Error, nil)
	t.Is("a topic that is not there", answer.Resources[1].Error, kafka.UnknownTopicOrPartition)
	found := map[string]string{}
	for _, entry := range answer.Resources[0].ConfigEntries {
		found[entry.ConfigName] = fmt.Sprintf("%s from %d", entry.ConfigValue, entry.ConfigSource)
	}
	t.Equal("configs", found, map[string]string{"retention.ms": "123456 from 1", "cleanup.policy": "delete from 5"})
	wrong, err := client(t).CreateTopics(t, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{{
		Topic: t.Name(), NumPartitions: 1, ReplicationFactor: 1,
		ConfigEntries: []kafka.ConfigEntry{{ConfigName: "retention.ms", ConfigValue: "soon"}},
	}}})
	t.Must("creating with a bad config", err)
	for _, failure := range wrong.Errors {
		t.Is("a bad config", failure, kafka.InvalidConfiguration)
	}
	t.Equal("one answer", len(wrong.Errors), 1)
}

func clientProducerID(t *check.T) {
	seen := map[int]bool{}
	for range 5 {
		answer, err := client(t).InitProducerID(t, &kafka.InitProducerIDRequest{TransactionTimeoutMs: 60000, ProducerID: -1, ProducerEpoch: -1})
		t.Must("asking for a producer id", err)
		t.Must("asking for a producer id", answer.Error)
		t.True("it is a number from 0 on", answer.Producer.ProducerID >= 0, answer.Producer)
		t.Equal("epoch", answer.Producer.ProducerEpoch, 0)
		seen[answer.Producer.ProducerID] = true
	}
	t.Equal("each is another", len(seen), 5)
	began := time.Now()
	answer, err := client(t).InitProducerID(t, &kafka.InitProducerIDRequest{
		TransactionalID: "tx", TransactionTimeoutMs: 60000, ProducerID: -1, ProducerEpoch: -1,
	})
	t.Must("asking with a transactional id", err)
	t.Is("a transactional id is refused", answer.Error, kafka.TransactionalIDAuthorizationFailed)
	t.True("at once", time.Since(began) < 5*time.Second, time.Since(began).String())
	found, err := client(t).FindCoordinator(t, &kafka.FindCoordinatorRequest{Key: "g", KeyType: kafka.CoordinatorKeyTypeConsumer})
	t.Must("a group's coordinator", err)
	t.Must("a group's coordinator", found.Error)
	t.Equal("its address", net.JoinHostPort(found.Coordinator.Host, strconv.Itoa(found.Coordinator.Port)), t.Bootstrap)
}

func clientAPIVersions(t *check.T) {
	answer, err := client(t).ApiVersions(t, &kafka.ApiVersionsRequest{})
	t.Must("api versions", err)
	t.Equal("error", answer.Error, nil)
	found := map[string]bool{}
	for _, api := range answer.ApiKeys {
		t.True(api.ApiName+" has a range", api.MinVersion <= api.MaxVersion, api)
		found[api.ApiName] = true
	}
	for _, name := range []string{"Produce", "Fetch", "ListOffsets", "Metadata", "CreateTopics", "DeleteTopics", "InitProducerId", "DescribeConfigs"} {
		t.True(name+" is served", found[name], found)
	}
}
