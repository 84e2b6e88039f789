package main

import (
	"context"
	"sync"
	"time"

	"github.com/segmentio/kafka-go"
	"kgw.test/check"
)

// readerGroup takes some of a topic through a Reader in a group, leaves, and goes on where it was.
func readerGroup(t *check.T) {
	create(t, t.Topic, 1)
	fill(t, t.Topic, 0, 3)
	values := check.Values("v", 30)
	for _, part := range [][]string{values[:12], values[12:]} {
		reader := kafka.NewReader(kafka.ReaderConfig{
			Brokers: []string{t.Bootstrap}, GroupID: t.Topic, Topic: t.Topic, StartOffset: kafka.FirstOffset,
			MaxWait: 100 * time.Millisecond, HeartbeatInterval: 200 * time.Millisecond,
		})
		var got []kafka.Message
		for range part {
			message, err := reader.FetchMessage(t)
			t.Must("fetching", err)
			got = append(got, message)
		}
		t.Equal("values", texts(got), part)
		t.Must("committing", reader.CommitMessages(t, got...))
		t.Must("leaving", reader.Close())
	}
}

// clientGroups makes the calls of groups that a Client has.
func clientGroups(t *check.T) {
	readerGroup(t)
	cl := client(t)
	at := map[string][]kafka.OffsetCommit{t.Topic: {{Partition: 0, Offset: 7, Metadata: "a note"}}}
	done, err := cl.OffsetCommit(t, &kafka.OffsetCommitRequest{GroupID: t.Topic, GenerationID: -1, Topics: at})
	t.Must("committing", err)
	t.Must("committing", done.Topics[t.Topic][0].Error)
	fetched, err := cl.OffsetFetch(t, &kafka.OffsetFetchRequest{GroupID: t.Topic, Topics: map[string][]int{t.Topic: {0}}})
	t.Must("fetching offsets", err)
	t.Equal("committed", fetched.Topics[t.Topic][0].CommittedOffset, int64(7))
	t.Equal("its note", fetched.Topics[t.Topic][0].Metadata, "a note")
	listed, err := cl.ListGroups(t, &kafka.ListGroupsRequest{})
	t.Must("listing", err)
	found := false
	for _, one := range listed.Groups {
		found = found || one.GroupID == t.Topic
	}
	t.Equal("it is listed", found, true)
	described, err := cl.DescribeGroups(t, &kafka.DescribeGroupsRequest{GroupIDs: []string{t.Topic}})
	t.Must("describing", err)
	t.Equal("state", described.Groups[0].GroupState, "Empty")
	gone, err := cl.OffsetDelete(t, &kafka.OffsetDeleteRequest{GroupID: t.Topic, Topics: map[string][]int{t.Topic: {0}}})
	t.Must("deleting an offset", err)
	t.Must("deleting an offset", gone.Topics[t.Topic][0].Error)
	deleted, err := cl.DeleteGroups(t, &kafka.DeleteGroupsRequest{GroupIDs: []string{t.Topic, "not-there"}})
	t.Must("deleting", err)
	t.Equal("deleting", deleted.Errors[t.Topic], nil)
	t.Is("deleting what is not there", deleted.Errors["not-there"], kafka.GroupIdNotFound)
}

var groupBalancers = map[string]kafka.GroupBalancer{
	"range":      kafka.RangeGroupBalancer{},
	"roundrobin": kafka.RoundRobinGroupBalancer{},
}

func members(t *check.T) {
	t.Members(func(m *check.Member) error {
		group, err := kafka.NewConsumerGroup(kafka.ConsumerGroupConfig{
			ID: m.Group, Brokers: []string{t.Bootstrap}, Topics: []string{m.Topic},
			GroupBalancers: []kafka.GroupBalancer{groupBalancers[m.Strategy]}, StartOffset: kafka.FirstOffset,
			SessionTimeout: m.SessionTimeout(), HeartbeatInterval: m.HeartbeatInterval(),
			JoinGroupBackoff: 100 * time.Millisecond,
		})
		if err != nil {
			return err
		}
		for m.Err() == nil {
			generation, err := group.Next(m)
			if err != nil {
				continue // it is tried again, unless the member is to leave
			}
			var partitions []int32
			for _, one := range generation.Assignments[m.Topic] {
				partitions = append(partitions, int32(one.ID))
			}
			m.Assigned(generation.ID, partitions)
			seen := &progress{offsets: map[int]int64{}}
			generation.Start(func(ctx context.Context) { seen.keep(ctx, m.Topic, generation) })
			for _, one := range generation.Assignments[m.Topic] {
				generation.Start(func(ctx context.Context) { follow(ctx, t, m, generation, one, seen) })
			}
		}
		return group.Close()
	})
}

// progress is how far a member has come in its partitions. It is committed now and then, by one goroutine:
// kafka-go spins where several of a generation wait for answers on its one connection.
type progress struct {
	lock    sync.Mutex
	offsets map[int]int64
}

func (p *progress) keep(ctx context.Context, topic string, generation *kafka.Generation) {
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-time.After(250 * time.Millisecond):
		}
		p.lock.Lock()
		news := p.offsets
		p.offsets = map[int]int64{}
		p.lock.Unlock()
		if len(news) > 0 {
			// what cannot be committed any more, the next owner sees again
			_ = generation.CommitOffsets(map[string]map[int]int64{topic: news})
		}
	}
}

// follow reads a partition until the generation is over.
func follow(
	ctx context.Context, t *check.T, m *check.Member, generation *kafka.Generation, at kafka.PartitionAssignment,
	seen *progress,
) {
	reader := kafka.NewReader(kafka.ReaderConfig{
		Brokers: []string{t.Bootstrap}, Topic: m.Topic, Partition: at.ID, MaxWait: 200 * time.Millisecond,
	})
	defer reader.Close()
	if reader.SetOffset(at.Offset) != nil {
		return
	}
	for {
		message, err := reader.ReadMessage(ctx)
		if err != nil {
			return
		}
		m.Seen(generation.ID, [2]int64{int64(at.ID), message.Offset})
		seen.lock.Lock()
		seen.offsets[at.ID] = message.Offset + 1
		seen.lock.Unlock()
	}
}
