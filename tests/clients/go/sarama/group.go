package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/IBM/sarama"
	"kgw.test/check"
)

func joining(version sarama.KafkaVersion) *sarama.Config {
	settings := config(version)
	settings.Consumer.Offsets.Initial = sarama.OffsetOldest
	settings.Consumer.Offsets.AutoCommit.Enable = false
	settings.Consumer.Return.Errors = false
	settings.Consumer.Group.Heartbeat.Interval = 200 * time.Millisecond
	return settings
}

// taking is a handler that commits after each message and ends its session after n.
type taking struct {
	n        int
	enough   context.CancelFunc
	messages []*sarama.ConsumerMessage
}

func (h *taking) Setup(sarama.ConsumerGroupSession) error   { return nil }
func (h *taking) Cleanup(sarama.ConsumerGroupSession) error { return nil }

func (h *taking) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	for message := range claim.Messages() {
		h.messages = append(h.messages, message)
		session.MarkOffset(message.Topic, message.Partition, message.Offset+1, "a note")
		session.Commit()
		if len(h.messages) == h.n {
			h.enough()
			break
		}
	}
	return nil
}

// group takes some of a topic, leaves, and goes on where it was.
func group(version sarama.KafkaVersion) func(*check.T) {
	return func(t *check.T) {
		create(t, version, t.Topic, 1, nil)
		fill(t, version, t.Topic, 3)
		for _, part := range [][]string{check.Values("v", 30)[:12], check.Values("v", 30)[12:]} {
			consumer, err := sarama.NewConsumerGroup([]string{t.Bootstrap}, t.Topic, joining(version))
			t.Must("making a group", err)
			ctx, enough := context.WithCancel(t)
			handler := &taking{n: len(part), enough: enough}
			t.Must("consuming", consumer.Consume(ctx, []string{t.Topic}, handler))
			t.Equal("values", texts(handler.messages), part)
			t.Must("leaving", consumer.Close())
		}
		client, err := sarama.NewClient([]string{t.Bootstrap}, config(version))
		t.Must("making a client", err)
		defer client.Close()
		offsets, err := sarama.NewOffsetManagerFromClient(t.Topic, client)
		t.Must("making an offset manager", err)
		one, err := offsets.ManagePartition(t.Topic, 0)
		t.Must("managing a partition", err)
		at, note := one.NextOffset()
		t.Equal("committed", at, int64(30))
		t.Equal("its note", note, "a note")
		t.Must("closing", one.Close())
		t.Must("closing", offsets.Close())
	}
}

var strategies = map[string]func() sarama.BalanceStrategy{
	"range":              sarama.NewBalanceStrategyRange,
	"roundrobin":         sarama.NewBalanceStrategyRoundRobin,
	"sticky":             sarama.NewBalanceStrategySticky,
	"cooperative-sticky": sarama.NewBalanceStrategyCooperativeSticky,
}

// telling is a handler that tells what it gets. A claim that goes on over generations is told once.
type telling struct {
	*check.Member
	lock  sync.Mutex
	owned []int32
}

func (h *telling) change(generation int32, change func([]int32) []int32) {
	h.lock.Lock()
	defer h.lock.Unlock()
	h.owned = change(h.owned)
	h.Assigned(generation, h.owned)
}

func (h *telling) Setup(session sarama.ConsumerGroupSession) error {
	h.change(session.GenerationID(), func([]int32) []int32 { return slices.Clone(session.Claims()[h.Topic]) })
	return nil
}

func (h *telling) Cleanup(sarama.ConsumerGroupSession) error {
	h.change(check.NoGeneration, func([]int32) []int32 { return nil })
	return nil
}

func (h *telling) ConsumeClaim(session sarama.ConsumerGroupSession, claim sarama.ConsumerGroupClaim) error {
	at := session.GenerationID()
	h.lock.Lock()
	known := slices.Contains(h.owned, claim.Partition())
	h.lock.Unlock()
	if !known {
		h.change(at, func(owned []int32) []int32 { return append(owned, claim.Partition()) })
	}
	defer h.change(check.NoGeneration, func(owned []int32) []int32 {
		return slices.DeleteFunc(owned, func(one int32) bool { return one == claim.Partition() })
	})
	for message := range claim.Messages() {
		h.Seen(session.GenerationID(), [2]int64{int64(message.Partition), message.Offset})
		session.MarkMessage(message, "")
		session.Commit()
	}
	return nil
}

func members(t *check.T) {
	t.Members(func(m *check.Member) error {
		settings := joining(sarama.MaxVersion)
		settings.Consumer.Group.Session.Timeout = m.SessionTimeout()
		settings.Consumer.Group.Heartbeat.Interval = m.HeartbeatInterval()
		settings.Consumer.Group.Rebalance.GroupStrategies = []sarama.BalanceStrategy{strategies[m.Strategy]()}
		consumer, err := sarama.NewConsumerGroup([]string{t.Bootstrap}, m.Group, settings)
		if err != nil {
			return err
		}
		var failure error
		for m.Err() == nil {
			if failure = consumer.Consume(m, []string{m.Topic}, &telling{Member: m}); failure != nil {
				time.Sleep(100 * time.Millisecond) // as Sarama's own example does: it is tried again
			}
		}
		return errors.Join(ignoring(failure), consumer.Close())
	})
}

// ignoring leaves out what only says that the member was asked to leave.
func ignoring(err error) error {
	if errors.Is(err, context.Canceled) || errors.Is(err, sarama.ErrClosedConsumerGroup) {
		return nil
	}
	return err
}
