package main

import (
	"time"

	"github.com/IBM/sarama"
	"kgw.test/check"
)

const start = 1_700_000_000_000

// fill writes batches of ten messages each, "v0", "v1" …, a second apart, to partition 0.
func fill(t *check.T, version sarama.KafkaVersion, topic string, batches int) {
	producer := newSync(t, config(version))
	values := check.Values("v", batches*10)
	for batch := range batches {
		all := messages(topic, 0, values[batch*10:batch*10+10])
		for i, message := range all {
			message.Timestamp = time.UnixMilli(start + int64(batch*10+i)*1000)
		}
		t.Must("sending", producer.SendMessages(all))
	}
	t.Must("closing", producer.Close())
}

func consumePartition(version sarama.KafkaVersion) func(*check.T) {
	return func(t *check.T) {
		create(t, version, t.Topic, 1, nil)
		fill(t, version, t.Topic, 5)
		values := check.Values("v", 50)
		for _, from := range []int64{0, 1, 9, 10, 25, 49} {
			got := consume(t, version, t.Topic, 0, from, int(50-from))
			t.Equal("values", texts(got), values[from:])
			t.Equal("first offset", got[0].Offset, from)
			t.Equal("timestamp", got[0].Timestamp.UnixMilli(), start+from*1000)
		}
		consumer, err := sarama.NewConsumer([]string{t.Bootstrap}, config(version))
		t.Must("making a consumer", err)
		defer consumer.Close()
		partitions, err := consumer.Partitions(t.Topic)
		t.Must("partitions", err)
		t.Equal("partitions", partitions, []int32{0})
		reading, err := consumer.ConsumePartition(t.Topic, 0, 47)
		t.Must("consuming", err)
		for i := 47; i < 50; i++ {
			t.Equal("value", string(next(t, reading).Value), values[i])
		}
		t.Equal("high watermark", reading.HighWaterMarkOffset(), int64(50))
		t.Must("closing", reading.Close())
	}
}

func consumerWaits(version sarama.KafkaVersion) func(*check.T) {
	return func(t *check.T) {
		create(t, version, t.Topic, 1, nil)
		settings := config(version)
		settings.Consumer.MaxWaitTime = 3 * time.Second
		consumer, err := sarama.NewConsumer([]string{t.Bootstrap}, settings)
		t.Must("making a consumer", err)
		reading, err := consumer.ConsumePartition(t.Topic, 0, sarama.OffsetNewest)
		t.Must("consuming", err)
		producer := newSync(t, config(version))
		for i, value := range check.Values("late ", 3) {
			time.Sleep(300 * time.Millisecond)
			_, _, err := producer.SendMessage(message(t.Topic, 0, value))
			t.Must("sending", err)
			began := time.Now()
			one := next(t, reading)
			after := time.Since(began)
			t.Equal("value", string(one.Value), value)
			t.Equal("offset", one.Offset, int64(i))
			t.True("it came at once", after < 1500*time.Millisecond, after.String())
		}
		t.Must("closing", producer.Close())
		t.Must("closing", reading.Close())
		t.Must("closing", consumer.Close())
	}
}

func clientOffsets(version sarama.KafkaVersion) func(*check.T) {
	return func(t *check.T) {
		create(t, version, t.Topic, 1, nil)
		fill(t, version, t.Topic, 3)
		client, err := sarama.NewClient([]string{t.Bootstrap}, config(version))
		t.Must("making a client", err)
		defer client.Close()
		for at, want := range map[int64]int64{
			sarama.OffsetOldest: 0, sarama.OffsetNewest: 30, start: 0, start + 13_000: 13, start + 13_001: 14, start + 29_001: -1,
		} {
			offset, err := client.GetOffset(t.Topic, 0, at)
			t.Must("asking for an offset", err)
			t.Equal("offset", offset, want)
		}
		leader, epoch, err := client.LeaderAndEpoch(t.Topic, 0)
		t.Must("the leader", err)
		t.Equal("its address", leader.Addr(), t.Bootstrap)
		if version.IsAtLeast(sarama.V2_1_0_0) {
			t.Equal("its epoch", epoch, int32(0))
		}
		controller, err := client.Controller()
		t.Must("the controller", err)
		t.Equal("its address", controller.Addr(), t.Bootstrap)
		replicas, err := client.Replicas(t.Topic, 0)
		t.Must("replicas", err)
		t.Equal("replicas", replicas, []int32{leader.ID()})
		_, err = client.GetOffset(t.Topic, 9, sarama.OffsetNewest)
		t.Is("a partition that is not there", err, sarama.ErrUnknownTopicOrPartition)
		if version.IsAtLeast(sarama.V0_11_0_0) {
			given, err := client.InitProducerID()
			t.Must("a producer id", err)
			t.Equal("its error", given.Err, sarama.ErrNoError)
			t.Equal("its epoch", given.ProducerEpoch, int16(0))
		}
		group, err := client.Coordinator("some-group")
		t.Must("a group's coordinator", err)
		t.Equal("its address", group.Addr(), t.Bootstrap)
	}
}

func outOfRange(t *check.T) {
	create(t, sarama.MaxVersion, t.Topic, 1, nil)
	fill(t, sarama.MaxVersion, t.Topic, 1)
	consumer, err := sarama.NewConsumer([]string{t.Bootstrap}, config(sarama.MaxVersion))
	t.Must("making a consumer", err)
	defer consumer.Close()
	_, err = consumer.ConsumePartition(t.Topic, 0, 11)
	t.Is("an offset beyond the end", err, sarama.ErrOffsetOutOfRange)
	client, err := sarama.NewClient([]string{t.Bootstrap}, config(sarama.MaxVersion))
	t.Must("making a client", err)
	defer client.Close()
	broker, err := client.Leader(t.Topic, 0)
	t.Must("the leader", err)
	request := &sarama.FetchRequest{Version: 11, MinBytes: 1, MaxBytes: 1000, MaxWaitTime: 100, SessionEpoch: -1}
	request.AddBlock(t.Topic, 0, 99, 1000, -1)
	answer, err := broker.Fetch(request)
	t.Must("fetching", err)
	t.Equal("the broker's own answer", answer.GetBlock(t.Topic, 0).Err, sarama.ErrOffsetOutOfRange)
}

func read(t *check.T) {
	client, err := sarama.NewClient([]string{t.Bootstrap}, config(sarama.MaxVersion))
	t.Must("making a client", err)
	defer client.Close()
	partitions, err := client.Partitions(t.Topic)
	t.Must("partitions", err)
	var all []check.Record
	for _, partition := range partitions {
		n := int(end(t, sarama.MaxVersion, t.Topic, partition))
		for _, message := range consume(t, sarama.MaxVersion, t.Topic, partition, 0, n) {
			one := check.Record{
				Partition: partition, Offset: message.Offset, Timestamp: message.Timestamp.UnixMilli(),
				Key: check.Pointer(message.Key), Value: check.Pointer(message.Value),
			}
			for _, header := range message.Headers {
				one.Headers = append(one.Headers, [2]string{string(header.Key), string(header.Value)})
			}
			all = append(all, one)
		}
	}
	t.Print(all)
}
