package main

import (
	"errors"
	"io"
	"net"
	"strconv"
	"time"

	"github.com/segmentio/kafka-go"
	"kgw.test/check"
)

func dial(t *check.T, topic string, partition int) *kafka.Conn {
	conn, err := kafka.DialLeader(t, "tcp", t.Bootstrap, topic, partition)
	t.Must("dialling the leader", err)
	t.Must("setting a deadline", conn.SetDeadline(time.Now().Add(20*time.Second)))
	return conn
}

func drain(t *check.T, batch *kafka.Batch) []kafka.Message {
	var all []kafka.Message
	for {
		message, err := batch.ReadMessage()
		if errors.Is(err, io.EOF) {
			t.Must("closing the batch", batch.Close())
			return all
		}
		t.Must("reading of the batch", err)
		all = append(all, message)
	}
}

func connBatch(t *check.T) {
	create(t, t.Topic, 2)
	conn := dial(t, t.Topic, 1)
	defer conn.Close()
	values := check.Values("c", 30)
	for at := 0; at < 30; at += 10 {
		_, err := conn.WriteMessages(messages(values[at : at+10])...)
		t.Must("writing", err)
	}
	batch := conn.ReadBatch(1, 1_000_000)
	t.Equal("high watermark", batch.HighWaterMark(), int64(30))
	got := drain(t, batch)
	t.Equal("values", texts(got), values)
	t.Equal("offsets", offsets(got), counting(0, 30))
	t.Equal("partition", got[0].Partition, 1)

	position, err := conn.Seek(15, kafka.SeekAbsolute)
	t.Must("seeking", err)
	t.Equal("position", position, int64(15))
	got = drain(t, conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: 1, MaxBytes: 1_000_000, MaxWait: time.Second}))
	t.Equal("values from the middle of a batch", texts(got), values[15:])

	_, err = conn.Seek(-3, kafka.SeekEnd)
	t.True("seeking beyond the end is refused", err != nil, err)
	position, err = conn.Seek(3, kafka.SeekEnd)
	t.Must("seeking from the end", err)
	t.Equal("position from the end", position, int64(27))
	message, err := conn.ReadMessage(1_000_000)
	t.Must("reading one", err)
	t.Equal("value near the end", string(message.Value), "c27")

	t.Is("Conn itself refuses acks 0", conn.SetRequiredAcks(0), kafka.InvalidRequiredAcks)
	t.Must("setting acks", conn.SetRequiredAcks(1))
	_, err = conn.WriteMessages(messages([]string{"for the leader"})...)
	t.Must("writing with acks 1", err)
	t.Equal("it is there", texts(readFrom(t, t.Topic, 1, 30, 1)), []string{"for the leader"})
}

func connCompressed(t *check.T) {
	create(t, t.Topic, 1)
	conn := dial(t, t.Topic, 0)
	defer conn.Close()
	var want []string
	for name, codec := range codecs {
		if name == "none" {
			continue
		}
		values := check.Values(name+" again and again and again ", 25)
		_, partition, offset, _, err := conn.WriteCompressedMessagesAt(codec.Codec(), messages(values)...)
		t.Must("writing "+name, err)
		t.Equal("partition", partition, int32(0))
		t.Equal("base offset of "+name, offset, int64(len(want)))
		want = append(want, values...)
	}
	var got []kafka.Message
	for len(got) < len(want) {
		more := drain(t, conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: 1, MaxBytes: 1_000_000, MaxWait: time.Second}))
		t.True("a fetch brings something", len(more) > 0, len(got))
		if len(more) == 0 {
			return
		}
		got = append(got, more...)
	}
	t.Equal("values", texts(got), want)
}

func connOffsets(t *check.T) {
	create(t, t.Topic, 1)
	conn := dial(t, t.Topic, 0)
	defer conn.Close()
	first, last, err := conn.ReadOffsets()
	t.Must("reading offsets", err)
	t.Equal("an empty log", [2]int64{first, last}, [2]int64{0, 0})
	start := fill(t, t.Topic, 0, 2)
	first, err = conn.ReadFirstOffset()
	t.Must("reading the first offset", err)
	last, err = conn.ReadLastOffset()
	t.Must("reading the last offset", err)
	t.Equal("a log of twenty", [2]int64{first, last}, [2]int64{0, 20})
	for _, one := range []struct {
		at   time.Duration
		want int64
	}{{-time.Hour, 0}, {4 * time.Second, 4}, {4*time.Second + 1*time.Millisecond, 5}, {19 * time.Second, 19}, {time.Hour, -1}} {
		offset, err := conn.ReadOffset(start.Add(one.at))
		t.Must("reading an offset by time", err)
		t.Equal("offset at "+one.at.String(), offset, one.want)
	}
}

func connTopics(t *check.T) {
	conn, err := kafka.DialContext(t, "tcp", t.Bootstrap)
	t.Must("dialling", err)
	defer conn.Close()
	t.Must("setting a deadline", conn.SetDeadline(time.Now().Add(20*time.Second)))
	one, two := t.Name(), t.Name()
	t.Must("creating", conn.CreateTopics(
		kafka.TopicConfig{Topic: one, NumPartitions: 2, ReplicationFactor: 1},
		kafka.TopicConfig{Topic: two, NumPartitions: 5, ReplicationFactor: 1},
	))
	t.Must("creating what is there is no error to kafka-go", conn.CreateTopics(
		kafka.TopicConfig{Topic: one, NumPartitions: 2, ReplicationFactor: 1}))
	err = conn.CreateTopics(kafka.TopicConfig{Topic: "no/such name", NumPartitions: 1, ReplicationFactor: 1})
	t.Is("a bad name", err, kafka.InvalidTopic)
	partitions, err := conn.ReadPartitions(one, two)
	t.Must("reading partitions", err)
	count := map[string]int{}
	for _, partition := range partitions {
		count[partition.Topic]++
		t.Equal("leader", net.JoinHostPort(partition.Leader.Host, strconv.Itoa(partition.Leader.Port)), t.Bootstrap)
		t.Equal("replicas", len(partition.Replicas), 1)
		t.Equal("in sync", len(partition.Isr), 1)
	}
	t.Equal("partitions", count, map[string]int{one: 2, two: 5})
	t.Must("deleting", conn.DeleteTopics(one))
	answer, err := client(t).Metadata(t, &kafka.MetadataRequest{Topics: []string{one, two}})
	t.Must("metadata", err)
	found := map[string]error{}
	for _, topic := range answer.Topics {
		found[topic.Name] = topic.Error
	}
	t.Is("the deleted topic", found[one], kafka.UnknownTopicOrPartition)
	t.Equal("the other topic", found[two], nil)
	t.Is("deleting again", conn.DeleteTopics(one), kafka.UnknownTopicOrPartition)
}

func connCluster(t *check.T) {
	create(t, t.Topic, 1)
	conn, err := kafka.DialContext(t, "tcp", t.Bootstrap)
	t.Must("dialling", err)
	defer conn.Close()
	brokers, err := conn.Brokers()
	t.Must("brokers", err)
	t.Equal("how many brokers", len(brokers), 1)
	t.Equal("its address", net.JoinHostPort(brokers[0].Host, strconv.Itoa(brokers[0].Port)), t.Bootstrap)
	controller, err := conn.Controller()
	t.Must("controller", err)
	t.Equal("the controller is that broker", controller, brokers[0])
	versions, err := conn.ApiVersions()
	t.Must("api versions", err)
	ranges := map[int16][2]int16{}
	for _, version := range versions {
		ranges[version.ApiKey] = [2]int16{version.MinVersion, version.MaxVersion}
	}
	t.Equal("Produce reaches topic ids", ranges[0][1], int16(13))
	t.True("Fetch reaches topic ids", ranges[1][1] >= 13, ranges[1])
	leader, err := (&kafka.Dialer{}).LookupLeader(t, "tcp", t.Bootstrap, t.Topic, 0)
	t.Must("looking up the leader", err)
	t.Equal("the leader is that broker", leader.ID, brokers[0].ID)
	found, err := kafka.LookupPartitions(t, "tcp", t.Bootstrap, t.Topic)
	t.Must("looking up partitions", err)
	t.Equal("partitions", len(found), 1)
}

func connOutOfRange(t *check.T) {
	create(t, t.Topic, 1)
	fill(t, t.Topic, 0, 1)
	conn := dial(t, t.Topic, 0)
	defer conn.Close()
	_, err := conn.Seek(11, kafka.SeekAbsolute|kafka.SeekDontCheck)
	t.Must("seeking", err)
	batch := conn.ReadBatchWith(kafka.ReadBatchConfig{MinBytes: 1, MaxBytes: 1000, MaxWait: time.Second})
	_, err = batch.ReadMessage()
	t.Is("beyond the end", err, kafka.OffsetOutOfRange)
	t.Is("closing that batch", batch.Close(), kafka.OffsetOutOfRange)
	// Conn leaves the last four bytes of a failed fetch unread, so it takes another one to read on.
	t.Equal("a value within", texts(readFrom(t, t.Topic, 0, 9, 1)), []string{"v9"})
}
