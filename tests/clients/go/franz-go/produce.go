package main

import (
	"fmt"
	"math/rand"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"kgw.test/check"
)

func produceIdempotent(t *check.T) {
	create(t, t.Topic, 2, nil)
	values := check.Values("idempotent ", 400)
	seen := map[int64]bool{}
	for _, part := range [][]string{values[:200], values[200:]} {
		cl := client(t)
		produce(t, cl, t.Topic, 1, end(t, t.Topic, 1), part)
		id, epoch, err := cl.ProducerID(t)
		t.Must("producer id", err)
		t.Equal("epoch", epoch, int16(0))
		seen[id] = true
		cl.Close()
	}
	t.Equal("each client had its own producer id", len(seen), 2)
	got := consume(t, t.Topic, 1, kgo.NewOffset().AtStart(), 400)
	t.Equal("values", texts(got), values)
	t.True("the records carry a producer id", seen[got[0].ProducerID], got[0].ProducerID)
}

func produceCodecs(t *check.T) {
	create(t, t.Topic, 1, nil)
	noise := make([]byte, 300_000)
	rand.New(rand.NewSource(2)).Read(noise)
	var want []string
	for name, codec := range codecs {
		cl := client(t, kgo.ProducerBatchCompression(codec), kgo.ProducerLinger(20*time.Millisecond))
		values := check.Values(name+" again and again and again ", 200)
		produce(t, cl, t.Topic, 0, int64(len(want)), values)
		want = append(want, values...)
		produce(t, cl, t.Topic, 0, int64(len(want)), []string{string(noise)}) // sent as it is where that is shorter
		want = append(want, string(noise))
		cl.Close()
	}
	got := consume(t, t.Topic, 0, kgo.NewOffset().AtStart(), len(want))
	wrong := 0
	found := map[uint8]bool{}
	for i, record := range got {
		if string(record.Value) != want[i] || record.Offset != int64(i) {
			wrong++
		}
		found[record.Attrs.CompressionType()] = true
	}
	t.Equal("records that came back different", wrong, 0)
	t.Equal("batches are kept as each codec wrote them", found, map[uint8]bool{0: true, 1: true, 2: true, 3: true, 4: true})
}

func produceAcks(t *check.T) {
	for name, acks := range map[string]kgo.Acks{"all": kgo.AllISRAcks(), "leader": kgo.LeaderAck(), "none": kgo.NoAck()} {
		topic := t.Name()
		create(t, topic, 1, nil)
		cl := client(t, kgo.DisableIdempotentWrite(), kgo.RequiredAcks(acks))
		values := check.Values("acks "+name+" ", 100)
		for _, value := range values {
			t.Must("producing", cl.ProduceSync(t, record(topic, 0, value)).FirstErr())
		}
		got := consume(t, topic, 0, kgo.NewOffset().AtStart(), 100)
		t.Equal("values with acks "+name, texts(got), values)
		t.Equal("end with acks "+name, end(t, topic, 0), int64(100))
		cl.Close()
	}
}

func produceManyFlights(t *check.T) {
	create(t, t.Topic, 3, nil)
	cl := client(t, kgo.ProducerBatchMaxBytes(1024), kgo.ProducerLinger(0))
	defer cl.Close()
	var want [3][]string
	failed := make(chan error, 6000)
	for i := range 6000 {
		partition := int32(i % 3)
		value := fmt.Sprintf("flight %d", i)
		want[partition] = append(want[partition], value)
		cl.Produce(t, record(t.Topic, partition, value), func(_ *kgo.Record, err error) { failed <- err })
	}
	t.Must("flushing", cl.Flush(t))
	for range 6000 {
		t.Must("producing", <-failed)
	}
	for partition := range want {
		got := consume(t, t.Topic, int32(partition), kgo.NewOffset().AtStart(), 2000)
		t.Equal("values in order", texts(got), want[partition])
	}
}

func produceTimestamps(t *check.T) {
	create(t, t.Topic, 1, nil)
	cl := client(t)
	defer cl.Close()
	at := time.UnixMilli(1_700_000_000_321)
	sent := []*kgo.Record{
		{Topic: t.Topic, Key: []byte("k"), Value: []byte("v"), Timestamp: at, Headers: []kgo.RecordHeader{
			{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "null", Value: nil}, {Key: "empty", Value: []byte{}},
		}},
		{Topic: t.Topic, Timestamp: at.Add(-time.Hour)},
		{Topic: t.Topic, Key: []byte{}, Value: []byte{}, Timestamp: at.Add(time.Hour)},
	}
	t.Must("producing", cl.ProduceSync(t, sent...).FirstErr())
	got := consume(t, t.Topic, 0, kgo.NewOffset().AtStart(), 3)
	for i := range sent {
		t.Equal("timestamp", got[i].Timestamp.UnixMilli(), sent[i].Timestamp.UnixMilli())
		t.Equal("key", got[i].Key, sent[i].Key)
		t.Equal("value", got[i].Value, sent[i].Value)
		t.Equal("timestamp type", got[i].Attrs.TimestampType(), int8(0))
	}
	t.Equal("headers", got[0].Headers, sent[0].Headers)

	stamped := t.Name()
	kind := "LogAppendTime"
	create(t, stamped, 1, map[string]*string{"message.timestamp.type": &kind})
	before := time.Now()
	t.Must("producing", cl.ProduceSync(t, &kgo.Record{Topic: stamped, Value: []byte("v"), Timestamp: at}).FirstErr())
	one := consume(t, stamped, 0, kgo.NewOffset().AtStart(), 1)[0]
	t.Equal("timestamp type of the log", one.Attrs.TimestampType(), int8(1))
	t.True("time of the append", one.Timestamp.Sub(before).Abs() < 10*time.Second, one.Timestamp.String())
}

func produceTooLarge(t *check.T) {
	limit := "1000"
	create(t, t.Topic, 1, map[string]*string{"max.message.bytes": &limit})
	cl := client(t)
	defer cl.Close()
	noise := make([]byte, 3000)
	rand.New(rand.NewSource(3)).Read(noise)
	err := cl.ProduceSync(t, &kgo.Record{Topic: t.Topic, Value: noise}).FirstErr()
	t.Is("a record above max.message.bytes", err, kerr.MessageTooLarge)
	produce(t, cl, t.Topic, 0, 0, []string{"small"})
	t.Equal("values", texts(consume(t, t.Topic, 0, kgo.NewOffset().AtStart(), 1)), []string{"small"})
}

func produceTransaction(t *check.T) {
	create(t, t.Topic, 1, nil)
	cl := client(t, kgo.TransactionalID("tx"))
	defer cl.Close()
	began := time.Now()
	t.Is("transactions are refused", cl.BeginTransaction(), kerr.TransactionalIDAuthorizationFailed)
	t.True("at once", time.Since(began) < 5*time.Second, time.Since(began).String())
	t.Equal("nothing was written", end(t, t.Topic, 0), int64(0))
}

func topicIDs(t *check.T) {
	create(t, t.Topic, 1, nil)
	sent, read := &versions{}, &versions{}
	cl := client(t, kgo.WithLogger(sent))
	defer cl.Close()
	produce(t, cl, t.Topic, 0, 0, check.Values("by id ", 10))
	t.Equal("Produce by topic id", sent.of("Produce"), "13")
	got := consume(t, t.Topic, 0, kgo.NewOffset().AtStart(), 10, kgo.WithLogger(read))
	t.Equal("values", texts(got), check.Values("by id ", 10))
	t.True("Fetch by topic id", read.of("Fetch") >= "13" && len(read.of("Fetch")) == 2, read.of("Fetch"))

	// the same name with another id
	adm := admin(t)
	defer adm.Close()
	deleted, err := adm.DeleteTopic(t, t.Topic)
	t.Must("deleting", err)
	t.Must("deleting", deleted.Err)
	create(t, t.Topic, 1, nil)
	again := client(t)
	defer again.Close()
	produce(t, again, t.Topic, 0, 0, check.Values("again ", 5))
	t.Equal("values", texts(consume(t, t.Topic, 0, kgo.NewOffset().AtStart(), 5)), check.Values("again ", 5))
}

func write(t *check.T) {
	for _, part := range t.Parts() {
		cl := client(t, kgo.ProducerBatchCompression(codecs[part.Codec]), kgo.ProducerLinger(50*time.Millisecond))
		var all []*kgo.Record
		for _, one := range part.Records {
			record := &kgo.Record{
				Topic: t.Topic, Partition: part.Partition, Timestamp: time.UnixMilli(one.Timestamp),
				Key: check.Text(one.Key), Value: check.Text(one.Value),
			}
			for _, header := range one.Headers {
				record.Headers = append(record.Headers, kgo.RecordHeader{Key: header[0], Value: []byte(header[1])})
			}
			all = append(all, record)
		}
		results := cl.ProduceSync(t, all...)
		t.Must("producing", results.FirstErr())
		t.Equal("base offset", results[0].Record.Offset, int64(0))
		cl.Close()
	}
}
