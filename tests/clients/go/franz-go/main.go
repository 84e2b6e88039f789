// Program franz-go uses github.com/twmb/franz-go and its kadm against a broker.
package main

import (
	"fmt"
	"regexp"
	"strconv"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
	"kgw.test/check"
)

func main() {
	scenarios := check.Scenarios{
		"produce-idempotent":   produceIdempotent,
		"produce-codecs":       produceCodecs,
		"produce-acks":         produceAcks,
		"produce-many-flights": produceManyFlights,
		"produce-timestamps":   produceTimestamps,
		"produce-too-large":    produceTooLarge,
		"produce-transaction":  produceTransaction,
		"topic-ids":            topicIDs,
		"consume-offsets":      consumeOffsets,
		"consume-after-milli":  consumeAfterMilli,
		"consume-waits":        consumeWaits,
		"consume-topic":        consumeTopic,
		"group":                group,
		"admin-topics":         adminTopics,
		"admin-offsets":        adminOffsets,
		"admin-configs":        adminConfigs,
		"admin-metadata":       adminMetadata,
		"admin-changes":        adminChanges,
		"admin-cluster":        adminCluster,
		"write":                write,
		"read":                 read,
		"members":              members,
	}
	for _, one := range releases {
		scenarios["as-"+one.name] = one.run
	}
	check.Main(scenarios)
}

var codecs = map[string]kgo.CompressionCodec{
	"none":   kgo.NoCompression(),
	"gzip":   kgo.GzipCompression(),
	"snappy": kgo.SnappyCompression(),
	"lz4":    kgo.Lz4Compression(),
	"zstd":   kgo.ZstdCompression(),
}

func client(t *check.T, options ...kgo.Opt) *kgo.Client {
	all := []kgo.Opt{
		kgo.SeedBrokers(t.Bootstrap), kgo.FetchMaxWait(200 * time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()),
	}
	made, err := kgo.NewClient(append(all, options...)...)
	t.Must("making a client", err)
	return made
}

func admin(t *check.T, options ...kgo.Opt) *kadm.Client {
	return kadm.NewClient(client(t, options...))
}

func create(t *check.T, name string, partitions int32, configs map[string]*string) {
	adm := admin(t)
	defer adm.Close()
	answer, err := adm.CreateTopic(t, partitions, 1, configs, name)
	t.Must("creating "+name, err)
	t.Must("creating "+name, answer.Err)
}

func record(topic string, partition int32, value string) *kgo.Record {
	return &kgo.Record{Topic: topic, Partition: partition, Value: []byte(value)}
}

// produce sends values to one partition and checks the offset of each.
func produce(t *check.T, cl *kgo.Client, topic string, partition int32, first int64, values []string) {
	var all []*kgo.Record
	for _, value := range values {
		all = append(all, record(topic, partition, value))
	}
	wrong := 0
	for i, result := range cl.ProduceSync(t, all...) {
		t.Must("producing", result.Err)
		if result.Record.Offset != first+int64(i) {
			wrong++
		}
	}
	t.Equal("records with another offset than their place", wrong, 0)
}

// consume reads n records of a partition from an offset on.
func consume(t *check.T, topic string, partition int32, from kgo.Offset, n int, options ...kgo.Opt) []*kgo.Record {
	cl := client(t, append(options, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: {partition: from}}))...)
	defer cl.Close()
	return poll(t, cl, n)
}

func poll(t *check.T, cl *kgo.Client, n int) []*kgo.Record {
	var all []*kgo.Record
	for len(all) < n {
		fetches := cl.PollFetches(t)
		for _, failure := range fetches.Errors() {
			t.Must("fetching", failure.Err)
		}
		all = append(all, fetches.Records()...)
	}
	return all
}

func texts(records []*kgo.Record) []string {
	values := make([]string, len(records))
	for i, record := range records {
		values[i] = string(record.Value)
	}
	return values
}

func end(t *check.T, topic string, partition int32) int64 {
	adm := admin(t)
	defer adm.Close()
	listed, err := adm.ListEndOffsets(t, topic)
	t.Must("listing end offsets", err)
	offset, _ := listed.Lookup(topic, partition)
	t.Must("listing end offsets", offset.Err)
	return offset.Offset
}

// versions notes from the client's own log which version of each request it sent.
type versions struct {
	lock sync.Mutex
	sent map[string]int
}

var wrote = regexp.MustCompile(`^wrote (\w+) v(\d+)$`)

func (v *versions) Level() kgo.LogLevel { return kgo.LogLevelDebug }

func (v *versions) Log(_ kgo.LogLevel, message string, _ ...any) {
	if found := wrote.FindStringSubmatch(message); found != nil {
		v.lock.Lock()
		defer v.lock.Unlock()
		version, _ := strconv.Atoi(found[2])
		if v.sent == nil {
			v.sent = map[string]int{}
		}
		v.sent[found[1]] = version
	}
}

func (v *versions) of(request string) string {
	v.lock.Lock()
	defer v.lock.Unlock()
	version, sent := v.sent[request]
	if !sent {
		return "never sent"
	}
	return fmt.Sprint(version)
}
