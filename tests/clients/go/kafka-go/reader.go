package main

import (
	"time"

	"github.com/segmentio/kafka-go"
	"kgw.test/check"
)

// fill writes batches of ten messages each, "v0", "v1" …, a second apart, to one partition.
func fill(t *check.T, topic string, partition, batches int) time.Time {
	first := time.UnixMilli(1_700_000_000_000)
	values := check.Values("v", batches*10)
	for batch := range batches {
		var sent []check.Record
		for i := batch * 10; i < batch*10+10; i++ {
			at := first.Add(time.Duration(i) * time.Second).UnixMilli()
			sent = append(sent, check.Record{Value: &values[i], Timestamp: at})
		}
		answer, err := client(t).Produce(t, &kafka.ProduceRequest{
			Topic: topic, Partition: partition, RequiredAcks: kafka.RequireAll,
			Records: kafka.NewRecordReader(records(sent)...),
		})
		t.Must("producing", err)
		t.Must("producing", answer.Error)
		t.Equal("base offset", answer.BaseOffset, int64(batch*10))
	}
	return first
}

func readerOffsets(t *check.T) {
	create(t, t.Topic, 1)
	fill(t, t.Topic, 0, 5)
	values := check.Values("v", 50)
	for _, from := range []int64{0, 1, 9, 10, 25, 49} {
		got := readFrom(t, t.Topic, 0, from, int(50-from))
		t.Equal("values", texts(got), values[from:])
		t.Equal("offsets", offsets(got), counting(from, int(50-from)))
	}
	first := readFrom(t, t.Topic, 0, kafka.FirstOffset, 1)
	t.Equal("the first offset", first[0].Offset, int64(0))
	t.Equal("high watermark", first[0].HighWaterMark, int64(50))
}

func readerTime(t *check.T) {
	create(t, t.Topic, 1)
	first := fill(t, t.Topic, 0, 3)
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{t.Bootstrap}, Topic: t.Topic, MaxWait: 100 * time.Millisecond,
	})
	defer reader.Close()
	for _, one := range []struct {
		at   time.Duration
		want int64
	}{{-time.Hour, 0}, {0, 0}, {13 * time.Second, 13}, {13*time.Second + time.Millisecond, 14}, {29 * time.Second, 29}} {
		t.Must("setting the time", reader.SetOffsetAt(t, first.Add(one.at)))
		message, err := reader.ReadMessage(t)
		t.Must("reading", err)
		t.Equal("offset at "+one.at.String(), message.Offset, one.want)
		t.Equal("value at "+one.at.String(), string(message.Value), check.Values("v", 30)[one.want])
	}
}

func readerWaits(t *check.T) {
	create(t, t.Topic, 1)
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{t.Bootstrap}, Topic: t.Topic, MinBytes: 1, MaxBytes: 1 << 20, MaxWait: 3 * time.Second,
	})
	defer reader.Close()
	type result struct {
		message kafka.Message
		err     error
		after   time.Duration
	}
	results := make(chan result)
	go func() {
		for range 3 {
			began := time.Now()
			message, err := reader.ReadMessage(t)
			results <- result{message, err, time.Since(began)}
		}
	}()
	writer := newWriter(t, t.Topic)
	for i, value := range check.Values("late ", 3) {
		time.Sleep(400 * time.Millisecond)
		began := time.Now()
		t.Must("writing", writer.WriteMessages(t, kafka.Message{Value: []byte(value)}))
		one := <-results
		t.Must("reading", one.err)
		t.Equal("value", string(one.message.Value), value)
		t.Equal("offset", one.message.Offset, int64(i))
		t.True("it came at once, not when the wait was over", time.Since(began) < 1500*time.Millisecond, one.after.String())
	}
	t.Must("closing", writer.Close())
}

func readerLag(t *check.T) {
	create(t, t.Topic, 1)
	fill(t, t.Topic, 0, 2)
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{t.Bootstrap}, Topic: t.Topic, MaxWait: 100 * time.Millisecond,
	})
	defer reader.Close()
	lag, err := reader.ReadLag(t)
	t.Must("asking for the lag", err)
	t.Equal("lag before reading", lag, int64(20))
	for range 5 {
		_, err := reader.ReadMessage(t)
		t.Must("reading", err)
	}
	lag, err = reader.ReadLag(t)
	t.Must("asking for the lag", err)
	t.Equal("lag after five", lag, int64(15))
	t.Equal("lag as the fetch told it", reader.Lag(), int64(15))
}

func readerTwoPartitions(t *check.T) {
	create(t, t.Topic, 3)
	fill(t, t.Topic, 0, 1)
	fill(t, t.Topic, 2, 2)
	t.Equal("partition 0", texts(readFrom(t, t.Topic, 0, 0, 10)), check.Values("v", 10))
	t.Equal("partition 2", texts(readFrom(t, t.Topic, 2, 0, 20)), check.Values("v", 20))
	t.Equal("partition 1 is empty", end(t, t.Topic, 1), int64(0))
}

func read(t *check.T) {
	meta, err := client(t).Metadata(t, &kafka.MetadataRequest{Topics: []string{t.Topic}})
	t.Must("metadata", err)
	var all []check.Record
	for _, partition := range meta.Topics[0].Partitions {
		for _, message := range readFrom(t, t.Topic, partition.ID, 0, int(end(t, t.Topic, partition.ID))) {
			all = append(all, check.Record{
				Partition: int32(partition.ID), Offset: message.Offset, Timestamp: message.Time.UnixMilli(),
				Key: check.Pointer(message.Key), Value: check.Pointer(message.Value), Headers: headers(message),
			})
		}
	}
	t.Print(all)
}
