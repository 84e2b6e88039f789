package main

import (
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"kgw.test/check"
)

const start = 1_700_000_000_000

// fill writes batches of ten records each, "v0", "v1" …, a second apart.
func fill(t *check.T, topic string, partition int32, batches int) {
	cl := client(t)
	defer cl.Close()
	values := check.Values("v", batches*10)
	for batch := range batches {
		var all []*kgo.Record
		for i := batch * 10; i < batch*10+10; i++ {
			one := record(topic, partition, values[i])
			one.Timestamp = time.UnixMilli(start + int64(i)*1000)
			all = append(all, one)
		}
		t.Must("producing", cl.ProduceSync(t, all...).FirstErr())
	}
}

func consumeOffsets(t *check.T) {
	create(t, t.Topic, 1, nil)
	fill(t, t.Topic, 0, 5)
	values := check.Values("v", 50)
	for _, from := range []int64{0, 1, 9, 10, 25, 49} {
		got := consume(t, t.Topic, 0, kgo.NewOffset().At(from), int(50-from))
		t.Equal("values", texts(got), values[from:])
		t.Equal("first offset", got[0].Offset, from)
		t.Equal("leader epoch", got[0].LeaderEpoch, int32(0))
	}
	t.Equal("relative to the end", texts(consume(t, t.Topic, 0, kgo.NewOffset().AtEnd().Relative(-7), 7)), values[43:])
	t.Equal("beyond the end goes back to the start", texts(consume(t, t.Topic, 0, kgo.NewOffset().At(51), 50, kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))), values)
	small := consume(t, t.Topic, 0, kgo.NewOffset().At(5), 45, kgo.FetchMaxPartitionBytes(1), kgo.FetchMaxBytes(1))
	t.Equal("a byte at a time", texts(small), values[5:])
	committed := consume(t, t.Topic, 0, kgo.NewOffset().AtStart(), 50, kgo.FetchIsolationLevel(kgo.ReadCommitted()))
	t.Equal("read committed", texts(committed), values)
}

func consumeAfterMilli(t *check.T) {
	create(t, t.Topic, 1, nil)
	fill(t, t.Topic, 0, 3)
	for after, want := range map[int64]int64{start - 1: 0, start: 0, start + 13_000: 13, start + 13_001: 14, start + 29_000: 29} {
		got := consume(t, t.Topic, 0, kgo.NewOffset().AfterMilli(after), 1)
		t.Equal("offset", got[0].Offset, want)
		t.Equal("timestamp", got[0].Timestamp.UnixMilli(), start+want*1000)
	}
}

func consumeWaits(t *check.T) {
	create(t, t.Topic, 1, nil)
	cl := client(t, kgo.FetchMaxWait(4*time.Second),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.Topic: {0: kgo.NewOffset().AtStart()}}))
	producer := client(t)
	defer producer.Close()
	for i, value := range check.Values("late ", 3) {
		done := make(chan time.Time)
		go func() {
			time.Sleep(300 * time.Millisecond)
			err := producer.ProduceSync(t, record(t.Topic, 0, value)).FirstErr()
			if err != nil {
				panic(err)
			}
			done <- time.Now()
		}()
		got := poll(t, cl, 1)
		after := time.Since(<-done)
		t.Equal("value", texts(got), []string{value})
		t.Equal("offset", got[0].Offset, int64(i))
		t.True("it came at once", after < 1500*time.Millisecond, after.String())
	}
	cl.CloseAllowingRebalance()
}

func consumeTopic(t *check.T) {
	create(t, t.Topic, 4, nil)
	for partition := range int32(4) {
		fill(t, t.Topic, partition, int(partition)+1)
	}
	cl := client(t, kgo.ConsumeTopics(t.Topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	defer cl.Close()
	found := map[int32][]string{}
	for _, record := range poll(t, cl, 100) {
		found[record.Partition] = append(found[record.Partition], string(record.Value))
	}
	for partition := range int32(4) {
		t.Equal("values", found[partition], check.Values("v", 10*(int(partition)+1)))
	}
}

func read(t *check.T) {
	adm := admin(t)
	defer adm.Close()
	listed, err := adm.ListEndOffsets(t, t.Topic)
	t.Must("listing end offsets", err)
	n := 0
	from := map[int32]kgo.Offset{}
	for partition, offset := range listed[t.Topic] {
		n += int(offset.Offset)
		from[partition] = kgo.NewOffset().AtStart()
	}
	cl := client(t, kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.Topic: from}))
	defer cl.Close()
	var all []check.Record
	for _, record := range poll(t, cl, n) {
		one := check.Record{
			Partition: record.Partition, Offset: record.Offset, Timestamp: record.Timestamp.UnixMilli(),
			Key: check.Pointer(record.Key), Value: check.Pointer(record.Value),
		}
		for _, header := range record.Headers {
			one.Headers = append(one.Headers, [2]string{header.Key, string(header.Value)})
		}
		all = append(all, one)
	}
	t.Print(all)
}
