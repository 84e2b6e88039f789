// Program kafka-go uses github.com/segmentio/kafka-go against a broker: Writer, Reader, Conn and Client.
package main

import (
	"time"

	"github.com/segmentio/kafka-go"
	"kgw.test/check"
)

func main() {
	check.Main(check.Scenarios{
		"writer-sync":             writerSync,
		"writer-codecs":           writerCodecs,
		"writer-acks":             writerAcks,
		"writer-async":            writerAsync,
		"writer-balancers":        writerBalancers,
		"writer-many-topics":      writerManyTopics,
		"writer-creates-topic":    writerCreatesTopic,
		"writer-too-large":        writerTooLarge,
		"reader-offsets":          readerOffsets,
		"reader-time":             readerTime,
		"reader-waits":            readerWaits,
		"reader-lag":              readerLag,
		"reader-two-partitions":   readerTwoPartitions,
		"conn-batch":              connBatch,
		"conn-compressed":         connCompressed,
		"conn-offsets":            connOffsets,
		"conn-topics":             connTopics,
		"conn-cluster":            connCluster,
		"conn-out-of-range":       connOutOfRange,
		"client-metadata":         clientMetadata,
		"client-produce-fetch":    clientProduceFetch,
		"client-raw-errors":       clientErrors,
		"client-list-offsets":     clientListOffsets,
		"client-topics":           clientTopics,
		"client-describe-configs": clientDescribeConfigs,
		"client-producer-id":      clientProducerID,
		"client-api-versions":     clientAPIVersions,
		"reader-group":            readerGroup,
		"client-groups":           clientGroups,
		"members":                 members,
		"write":                   write,
		"read":                    read,
	})
}

var codecs = map[string]kafka.Compression{
	"none":   0,
	"gzip":   kafka.Gzip,
	"snappy": kafka.Snappy,
	"lz4":    kafka.Lz4,
	"zstd":   kafka.Zstd,
}

func client(t *check.T) *kafka.Client {
	return &kafka.Client{Addr: kafka.TCP(t.Bootstrap), Timeout: 10 * time.Second}
}

// create makes a topic with that many partitions.
func create(t *check.T, name string, partitions int, configs ...kafka.ConfigEntry) {
	answer, err := client(t).CreateTopics(t, &kafka.CreateTopicsRequest{Topics: []kafka.TopicConfig{
		{Topic: name, NumPartitions: partitions, ReplicationFactor: 1, ConfigEntries: configs},
	}})
	t.Must("creating "+name, err)
	t.Must("creating "+name, answer.Errors[name])
}

// readFrom reads n messages of a partition from an offset on.
func readFrom(t *check.T, topic string, partition int, offset int64, n int) []kafka.Message {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{t.Bootstrap}, Topic: topic, Partition: partition, MaxWait: 100 * time.Millisecond,
	})
	defer reader.Close()
	t.Must("setting the offset", reader.SetOffset(offset))
	messages := make([]kafka.Message, 0, n)
	for range n {
		message, err := reader.ReadMessage(t)
		t.Must("reading a message", err)
		messages = append(messages, message)
	}
	return messages
}

func texts(messages []kafka.Message) []string {
	values := make([]string, len(messages))
	for i, message := range messages {
		values[i] = string(message.Value)
	}
	return values
}

func offsets(messages []kafka.Message) []int64 {
	all := make([]int64, len(messages))
	for i, message := range messages {
		all[i] = message.Offset
	}
	return all
}

// counting is the numbers from first on.
func counting(first int64, n int) []int64 {
	all := make([]int64, n)
	for i := range all {
		all[i] = first + int64(i)
	}
	return all
}

func messages(values []string) []kafka.Message {
	all := make([]kafka.Message, len(values))
	for i, value := range values {
		all[i] = kafka.Message{Value: []byte(value)}
	}
	return all
}

// end is the log end offset of a partition.
func end(t *check.T, topic string, partition int) int64 {
	answer, err := client(t).ListOffsets(t, &kafka.ListOffsetsRequest{
		Topics: map[string][]kafka.OffsetRequest{topic: {kafka.LastOffsetOf(partition)}},
	})
	t.Must("listing offsets", err)
	t.Must("listing offsets", answer.Topics[topic][0].Error)
	return answer.Topics[topic][0].LastOffset
}
