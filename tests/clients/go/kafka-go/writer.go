package main

import (
	"errors"
	"fmt"
	"math/rand"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"kgw.test/check"
)

func newWriter(t *check.T, topic string) *kafka.Writer {
	return &kafka.Writer{
		Addr: kafka.TCP(t.Bootstrap), Topic: topic, BatchTimeout: 10 * time.Millisecond,
		RequiredAcks: kafka.RequireAll, MaxAttempts: 2,
	}
}

func writerSync(t *check.T) {
	create(t, t.Topic, 1)
	writer := newWriter(t, t.Topic)
	at := time.UnixMilli(1_700_000_000_123)
	sent := []kafka.Message{
		{Key: []byte("k"), Value: []byte("v"), Time: at, Headers: []kafka.Header{
			{Key: "a", Value: []byte("1")}, {Key: "a", Value: []byte("2")}, {Key: "empty", Value: []byte{}},
		}},
		{Key: nil, Value: []byte("no key"), Time: at.Add(time.Second)},
		{Key: []byte("tombstone"), Value: nil, Time: at.Add(2 * time.Second)},
		{Key: []byte{}, Value: []byte{}, Time: at.Add(3 * time.Second)},
	}
	t.Must("writing", writer.WriteMessages(t, sent...))
	t.Must("closing", writer.Close())
	got := readFrom(t, t.Topic, 0, 0, len(sent))
	for i, message := range got {
		t.Equal(fmt.Sprintf("key %d", i), string(message.Key), string(sent[i].Key))
		t.Equal(fmt.Sprintf("value %d", i), string(message.Value), string(sent[i].Value))
		t.Equal(fmt.Sprintf("time %d", i), message.Time.UnixMilli(), sent[i].Time.UnixMilli())
		t.Equal(fmt.Sprintf("headers of %d", i), headers(message), headers(sent[i]))
	}
	t.True("a null key stays null", got[1].Key == nil, got[1].Key)
	t.True("a null value stays null", got[2].Value == nil, got[2].Value)
	t.Equal("offsets", offsets(got), counting(0, 4))
	t.Equal("high watermark", got[3].HighWaterMark, int64(4))
}

func headers(message kafka.Message) [][2]string {
	all := [][2]string{}
	for _, header := range message.Headers {
		all = append(all, [2]string{header.Key, string(header.Value)})
	}
	return all
}

func writerCodecs(t *check.T) {
	create(t, t.Topic, 1)
	var want []string
	for name, codec := range codecs {
		writer := newWriter(t, t.Topic)
		writer.Compression = codec
		values := check.Values(name+" compresses well, compresses well, compresses well ", 200)
		want = append(want, values...)
		t.Must("writing "+name, writer.WriteMessages(t, messages(values)...))
		t.Must("closing", writer.Close())
	}
	got := readFrom(t, t.Topic, 0, 0, len(want))
	t.Equal("values through every codec", texts(got), want)
	t.Equal("offsets", offsets(got), counting(0, len(want)))

	noise := make([]byte, 300_000)
	rand.New(rand.NewSource(1)).Read(noise)
	for name, codec := range codecs {
		writer := newWriter(t, t.Topic)
		writer.Compression = codec
		t.Must("writing noise", writer.WriteMessages(t, kafka.Message{Value: noise}))
		t.Must("closing", writer.Close())
		last := readFrom(t, t.Topic, 0, end(t, t.Topic, 0)-1, 1)
		t.True("300 kB that do not compress, "+name, string(last[0].Value) == string(noise), len(last[0].Value))
	}
}

func writerAcks(t *check.T) {
	for _, acks := range []kafka.RequiredAcks{kafka.RequireAll, kafka.RequireOne, kafka.RequireNone} {
		topic := t.Name()
		create(t, topic, 1)
		writer := newWriter(t, topic)
		writer.RequiredAcks = acks
		values := check.Values("acks "+acks.String()+" ", 30)
		t.Must("writing", writer.WriteMessages(t, messages(values[:10])...))
		t.Must("writing", writer.WriteMessages(t, messages(values[10:])...))
		t.Must("closing", writer.Close())
		t.Equal("values with acks "+acks.String(), texts(readFrom(t, topic, 0, 0, 30)), values)
		t.Equal("end with acks "+acks.String(), end(t, topic, 0), int64(30))
	}
}

func writerAsync(t *check.T) {
	create(t, t.Topic, 3)
	writer := newWriter(t, t.Topic)
	writer.Async = true
	writer.BatchSize = 50
	writer.Balancer = &kafka.RoundRobin{}
	var lock sync.Mutex
	var failure error
	where := map[string][2]int64{}
	writer.Completion = func(done []kafka.Message, err error) {
		lock.Lock()
		defer lock.Unlock()
		failure = errors.Join(failure, err)
		for _, message := range done {
			where[string(message.Value)] = [2]int64{int64(message.Partition), message.Offset}
		}
	}
	values := check.Values("async ", 3000)
	t.Must("writing", writer.WriteMessages(t, messages(values)...))
	t.Must("closing", writer.Close())
	t.Must("completion", failure)
	t.Equal("messages completed", len(where), 3000)
	for partition := range 3 {
		got := readFrom(t, t.Topic, partition, 0, 1000)
		t.Equal("offsets", offsets(got), counting(0, 1000))
		wrong := 0
		for i, message := range got {
			if where[string(message.Value)] != [2]int64{int64(partition), message.Offset} {
				wrong++
			}
			if i > 0 && len(message.Value) < len(got[i-1].Value) {
				wrong++ // a shorter number after a longer one: out of order
			}
		}
		t.Equal("messages elsewhere than the completion said, or out of order", wrong, 0)
	}
}

func writerBalancers(t *check.T) {
	balancers := map[string]kafka.Balancer{
		"round robin": &kafka.RoundRobin{}, "hash": &kafka.Hash{}, "crc32": kafka.CRC32Balancer{},
		"murmur2": kafka.Murmur2Balancer{}, "reference": &kafka.ReferenceHash{},
	}
	const partitions, n = 4, 40
	for name, balancer := range balancers {
		topic := t.Name()
		create(t, topic, partitions)
		writer := newWriter(t, topic)
		writer.Balancer = balancer
		var sent []kafka.Message
		for i := range n {
			sent = append(sent, kafka.Message{Key: fmt.Appendf(nil, "key %d", i), Value: []byte("x")})
		}
		t.Must("writing", writer.WriteMessages(t, sent...))
		t.Must("closing", writer.Close())
		found := 0
		for partition := range partitions {
			count := int(end(t, topic, partition))
			for _, message := range readFrom(t, topic, partition, 0, count) {
				found++
				if name != "round robin" {
					chosen := balancer.Balance(kafka.Message{Key: message.Key}, 0, 1, 2, 3)
					t.Equal(name+" partition of "+string(message.Key), partition, chosen)
				}
			}
			if name == "round robin" {
				t.Equal("round robin spreads", count, n/partitions)
			}
		}
		t.Equal(name+": all are there", found, n)
	}
}

func writerManyTopics(t *check.T) {
	topics := []string{t.Name(), t.Name(), t.Name()}
	writer := newWriter(t, "")
	var sent []kafka.Message
	for _, topic := range topics {
		create(t, topic, 1)
		for _, value := range check.Values(topic+" ", 20) {
			sent = append(sent, kafka.Message{Topic: topic, Value: []byte(value)})
		}
	}
	t.Must("writing", writer.WriteMessages(t, sent...))
	t.Must("closing", writer.Close())
	for _, topic := range topics {
		t.Equal("values", texts(readFrom(t, topic, 0, 0, 20)), check.Values(topic+" ", 20))
		t.Equal("end", end(t, topic, 0), int64(20))
	}
}

func writerCreatesTopic(t *check.T) {
	writer := newWriter(t, t.Topic)
	err := writer.WriteMessages(t, kafka.Message{Value: []byte("nobody allowed it")})
	t.Is("without leave to create", err, kafka.UnknownTopicOrPartition)
	t.Must("closing", writer.Close())

	writer = newWriter(t, t.Topic)
	writer.AllowAutoTopicCreation = true
	writer.MaxAttempts = 5
	t.Must("with leave to create", writer.WriteMessages(t, kafka.Message{Value: []byte("first")}))
	t.Must("closing", writer.Close())
	t.Equal("value", texts(readFrom(t, t.Topic, 0, 0, 1)), []string{"first"})
}

func writerTooLarge(t *check.T) {
	create(t, t.Topic, 1, kafka.ConfigEntry{ConfigName: "max.message.bytes", ConfigValue: "1000"})
	writer := newWriter(t, t.Topic)
	err := writer.WriteMessages(t, kafka.Message{Value: make([]byte, 2000)})
	var each kafka.WriteErrors
	t.True("a message above max.message.bytes fails", errors.As(err, &each) && len(each) == 1, fmt.Sprint(err))
	t.Is("the reason", errors.Join(each...), kafka.MessageSizeTooLarge)
	t.Must("one below", writer.WriteMessages(t, kafka.Message{Value: []byte("small")}))
	t.Must("closing", writer.Close())
	got := readFrom(t, t.Topic, 0, 0, 1)
	t.Equal("only the small one is there", texts(got), []string{"small"})
	t.Equal("end", end(t, t.Topic, 0), int64(1))
}

func write(t *check.T) {
	for _, part := range t.Parts() {
		answer, err := client(t).Produce(t, &kafka.ProduceRequest{
			Topic: t.Topic, Partition: int(part.Partition), RequiredAcks: kafka.RequireAll,
			Compression: codecs[part.Codec], Records: kafka.NewRecordReader(records(part.Records)...),
		})
		t.Must("producing", err)
		t.Must("producing", answer.Error)
		t.Equal("base offset", answer.BaseOffset, int64(0))
	}
}

func records(of []check.Record) []kafka.Record {
	var all []kafka.Record
	for _, record := range of {
		one := kafka.Record{
			Time: time.UnixMilli(record.Timestamp),
			Key:  kafka.NewBytes(check.Text(record.Key)), Value: kafka.NewBytes(check.Text(record.Value)),
		}
		for _, header := range record.Headers {
			one.Headers = append(one.Headers, kafka.Header{Key: header[0], Value: []byte(header[1])})
		}
		all = append(all, one)
	}
	return all
}
