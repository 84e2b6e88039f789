// Program sarama uses github.com/IBM/sarama against a broker.
//
// Sarama chooses its request versions from a configured Kafka version, not from ApiVersions alone. Scenarios
// run with the newest one it knows; "as-0-10-2" and its like run the same things as for old brokers.
package main

import (
	"fmt"
	"strconv"
	"time"

	"github.com/IBM/sarama"
	"kgw.test/check"
)

func main() {
	check.Main(check.Scenarios{
		"sync-producer":     syncProducer(sarama.MaxVersion),
		"async-producer":    asyncProducer(sarama.MaxVersion),
		"idempotent":        idempotent(sarama.MaxVersion),
		"codecs":            throughCodecs(sarama.MaxVersion),
		"acks":              everyAcks(sarama.MaxVersion),
		"consume-partition": consumePartition(sarama.MaxVersion),
		"consumer-waits":    consumerWaits(sarama.MaxVersion),
		"client-offsets":    clientOffsets(sarama.MaxVersion),
		"admin-topics":      adminTopics(sarama.MaxVersion),
		"admin-configs":     adminConfigs(sarama.MaxVersion),
		"transactional":     transactional,
		"out-of-range":      outOfRange,
		"group":             group(sarama.MaxVersion),
		"as-0-10-2":         as(sarama.V0_10_2_0),
		"as-0-11":           as(sarama.V0_11_0_0),
		"as-1-1":            as(sarama.V1_1_0_0),
		"as-2-8":            as(sarama.V2_8_0_0),
		"write":             write,
		"read":              read,
		"members":           members,
	})
}

var codecs = map[string]sarama.CompressionCodec{
	"none":   sarama.CompressionNone,
	"gzip":   sarama.CompressionGZIP,
	"snappy": sarama.CompressionSnappy,
	"lz4":    sarama.CompressionLZ4,
	"zstd":   sarama.CompressionZSTD,
}

func config(version sarama.KafkaVersion) *sarama.Config {
	config := sarama.NewConfig()
	config.Version = version
	config.ClientID = "kgw-test"
	config.Producer.Return.Successes = true
	config.Producer.Return.Errors = true
	config.Producer.RequiredAcks = sarama.WaitForAll
	config.Producer.Partitioner = sarama.NewManualPartitioner
	config.Producer.Retry.Max = 2
	config.Consumer.MaxWaitTime = 200 * time.Millisecond
	config.Consumer.Return.Errors = true
	return config
}

func admin(t *check.T, version sarama.KafkaVersion) sarama.ClusterAdmin {
	made, err := sarama.NewClusterAdmin([]string{t.Bootstrap}, config(version))
	t.Must("making an admin client", err)
	return made
}

func create(t *check.T, version sarama.KafkaVersion, name string, partitions int32, configs map[string]*string) {
	adm := admin(t, version)
	defer adm.Close()
	detail := &sarama.TopicDetail{NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs}
	t.Must("creating "+name, adm.CreateTopic(name, detail, false))
}

func newSync(t *check.T, config *sarama.Config) sarama.SyncProducer {
	producer, err := sarama.NewSyncProducer([]string{t.Bootstrap}, config)
	t.Must("making a producer", err)
	return producer
}

func message(topic string, partition int32, value string) *sarama.ProducerMessage {
	return &sarama.ProducerMessage{Topic: topic, Partition: partition, Value: sarama.StringEncoder(value)}
}

func messages(topic string, partition int32, values []string) []*sarama.ProducerMessage {
	all := make([]*sarama.ProducerMessage, len(values))
	for i, value := range values {
		all[i] = message(topic, partition, value)
	}
	return all
}

// consume reads n messages of a partition from an offset on.
func consume(t *check.T, version sarama.KafkaVersion, topic string, partition int32, from int64, n int) []*sarama.ConsumerMessage {
	consumer, err := sarama.NewConsumer([]string{t.Bootstrap}, config(version))
	t.Must("making a consumer", err)
	defer consumer.Close()
	reading, err := consumer.ConsumePartition(topic, partition, from)
	t.Must("consuming a partition", err)
	defer reading.Close()
	all := make([]*sarama.ConsumerMessage, 0, n)
	for len(all) < n {
		all = append(all, next(t, reading))
	}
	return all
}

func next(t *check.T, reading sarama.PartitionConsumer) *sarama.ConsumerMessage {
	select {
	case message := <-reading.Messages():
		return message
	case failure := <-reading.Errors():
		t.Must("consuming", failure)
	case <-time.After(15 * time.Second):
		t.Must("consuming", fmt.Errorf("nothing came within 15 s"))
	}
	return nil
}

func texts(messages []*sarama.ConsumerMessage) []string {
	values := make([]string, len(messages))
	for i, message := range messages {
		values[i] = string(message.Value)
	}
	return values
}

func end(t *check.T, version sarama.KafkaVersion, topic string, partition int32) int64 {
	client, err := sarama.NewClient([]string{t.Bootstrap}, config(version))
	t.Must("making a client", err)
	defer client.Close()
	offset, err := client.GetOffset(topic, partition, sarama.OffsetNewest)
	t.Must("asking for the end", err)
	return offset
}

func number(text string) int {
	n, err := strconv.Atoi(text)
	if err != nil {
		return -1
	}
	return n
}
