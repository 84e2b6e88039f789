package main

import (
	"fmt"
	"math/rand"
	"strings"
	"time"

	"github.com/IBM/sarama"
	"kgw.test/check"
)

func syncProducer(version sarama.KafkaVersion) func(*check.T) {
	return func(t *check.T) {
		create(t, version, t.Topic, 2, nil)
		producer := newSync(t, config(version))
		at := time.UnixMilli(1_700_000_000_123)
		sent := message(t.Topic, 1, "v")
		sent.Key = sarama.StringEncoder("k")
		sent.Timestamp = at
		var wanted []string
		if version.IsAtLeast(sarama.V0_11_0_0) {
			sent.Headers = []sarama.RecordHeader{{Key: []byte("a"), Value: []byte("1")}, {Key: []byte("a"), Value: []byte("2")}}
			wanted = []string{"a=1", "a=2"}
		}
		partition, offset, err := producer.SendMessage(sent)
		t.Must("sending", err)
		t.Equal("partition", partition, int32(1))
		t.Equal("offset", offset, int64(0))
		tombstone := &sarama.ProducerMessage{Topic: t.Topic, Partition: 1, Key: sarama.StringEncoder("k")}
		_, offset, err = producer.SendMessage(tombstone)
		t.Must("sending a tombstone", err)
		t.Equal("its offset", offset, int64(1))
		many := messages(t.Topic, 1, check.Values("many ", 300))
		t.Must("sending many", producer.SendMessages(many))
		wrong := 0
		for i, message := range many {
			if message.Offset != int64(i+2) {
				wrong++
			}
		}
		t.Equal("messages with another offset than their place", wrong, 0)
		t.Must("closing", producer.Close())
		got := consume(t, version, t.Topic, 1, sarama.OffsetOldest, 302)
		t.Equal("key", string(got[0].Key), "k")
		t.Equal("value", string(got[0].Value), "v")
		t.Equal("timestamp", got[0].Timestamp.UnixMilli(), at.UnixMilli())
		var headers []string
		for _, header := range got[0].Headers {
			headers = append(headers, string(header.Key)+"="+string(header.Value))
		}
		t.Equal("headers", headers, wanted)
		t.True("a null value", got[1].Value == nil, got[1].Value)
		t.True("a null key", got[2].Key == nil, got[2].Key)
		t.Equal("values", texts(got[2:]), check.Values("many ", 300))
	}
}

func asyncProducer(version sarama.KafkaVersion) func(*check.T) {
	return func(t *check.T) {
		create(t, version, t.Topic, 3, nil)
		settings := config(version)
		settings.Producer.Flush.Messages = 50
		settings.Producer.Flush.Frequency = 20 * time.Millisecond
		producer, err := sarama.NewAsyncProducer([]string{t.Bootstrap}, settings)
		t.Must("making a producer", err)
		go func() {
			for i := range 3000 {
				producer.Input() <- message(t.Topic, int32(i%3), fmt.Sprint(i))
			}
		}()
		where := map[string]string{}
		for range 3000 {
			select {
			case done := <-producer.Successes():
				text, _ := done.Value.Encode()
				where[string(text)] = fmt.Sprintf("%d:%d", done.Partition, done.Offset)
			case failure := <-producer.Errors():
				t.Must("sending", failure)
			}
		}
		t.Must("closing", producer.Close())
		for partition := range int32(3) {
			wrong, last := 0, -1
			for _, one := range consume(t, version, t.Topic, partition, 0, 1000) {
				text := string(one.Value)
				if number(text) <= last || where[text] != fmt.Sprintf("%d:%d", partition, one.Offset) {
					wrong++
				}
				last = number(text)
			}
			t.Equal("messages elsewhere than the producer was told, or out of order", wrong, 0)
			t.Equal("end", end(t, version, t.Topic, partition), int64(1000))
		}
	}
}

func idempotent(version sarama.KafkaVersion) func(*check.T) {
	return func(t *check.T) {
		create(t, version, t.Topic, 1, nil)
		values := check.Values("idempotent ", 600)
		for _, part := range [][]string{values[:300], values[300:]} {
			settings := config(version)
			settings.Producer.Idempotent = true
			settings.Net.MaxOpenRequests = 1
			settings.Producer.Flush.MaxMessages = 20
			producer := newSync(t, settings)
			t.Must("sending", producer.SendMessages(messages(t.Topic, 0, part)))
			t.Must("closing", producer.Close())
		}
		t.Equal("values", texts(consume(t, version, t.Topic, 0, 0, 600)), values)
		t.Equal("end", end(t, version, t.Topic, 0), int64(600))
	}
}

func throughCodecs(version sarama.KafkaVersion) func(*check.T) {
	return func(t *check.T) {
		create(t, version, t.Topic, 1, nil)
		noise := make([]byte, 300_000)
		rand.New(rand.NewSource(4)).Read(noise)
		var want []string
		for name, codec := range codecs {
			if name == "zstd" && !version.IsAtLeast(sarama.V2_1_0_0) {
				continue
			}
			settings := config(version)
			settings.Producer.Compression = codec
			producer := newSync(t, settings)
			values := append(check.Values(name+" "+strings.Repeat("again ", 20), 100), string(noise))
			t.Must("sending "+name, producer.SendMessages(messages(t.Topic, 0, values)))
			t.Must("closing", producer.Close())
			want = append(want, values...)
		}
		wrong := 0
		for i, one := range consume(t, version, t.Topic, 0, 0, len(want)) {
			if string(one.Value) != want[i] || one.Offset != int64(i) {
				wrong++
			}
		}
		t.Equal("messages that came back different", wrong, 0)
		t.Equal("end", end(t, version, t.Topic, 0), int64(len(want)))
	}
}

func everyAcks(version sarama.KafkaVersion) func(*check.T) {
	return func(t *check.T) {
		for _, acks := range []sarama.RequiredAcks{sarama.WaitForAll, sarama.WaitForLocal, sarama.NoResponse} {
			topic := t.Name()
			create(t, version, topic, 1, nil)
			settings := config(version)
			settings.Producer.RequiredAcks = acks
			producer := newSync(t, settings)
			values := check.Values(fmt.Sprintf("acks %d ", acks), 100)
			t.Must("sending", producer.SendMessages(messages(topic, 0, values)))
			t.Must("closing", producer.Close())
			t.Equal("values", texts(consume(t, version, topic, 0, 0, 100)), values)
			t.Equal("end", end(t, version, topic, 0), int64(100))
		}
	}
}

func transactional(t *check.T) {
	settings := config(sarama.MaxVersion)
	settings.Producer.Idempotent = true
	settings.Net.MaxOpenRequests = 1
	settings.Producer.Transaction.ID = "tx"
	settings.Producer.Transaction.Retry.Max = 3
	began := time.Now()
	_, err := sarama.NewSyncProducer([]string{t.Bootstrap}, settings)
	t.Is("transactions are refused", err, sarama.ErrTransactionalIDAuthorizationFailed)
	t.True("at once", time.Since(began) < 5*time.Second, time.Since(began).String())
}

func write(t *check.T) {
	for _, part := range t.Parts() {
		settings := config(sarama.MaxVersion)
		settings.Producer.Compression = codecs[part.Codec]
		producer := newSync(t, settings)
		var all []*sarama.ProducerMessage
		for _, one := range part.Records {
			message := &sarama.ProducerMessage{Topic: t.Topic, Partition: part.Partition, Timestamp: time.UnixMilli(one.Timestamp)}
			if one.Key != nil {
				message.Key = sarama.StringEncoder(*one.Key)
			}
			if one.Value != nil {
				message.Value = sarama.StringEncoder(*one.Value)
			}
			for _, header := range one.Headers {
				message.Headers = append(message.Headers, sarama.RecordHeader{Key: []byte(header[0]), Value: []byte(header[1])})
			}
			all = append(all, message)
		}
		t.Must("sending", producer.SendMessages(all))
		t.Equal("base offset", all[0].Offset, int64(0))
		t.Must("closing", producer.Close())
	}
}
