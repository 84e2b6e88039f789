package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"kgw.test/check"
)

// group takes some of a topic, leaves, goes on where it was; then the calls that groups have in kadm.
func group(t *check.T) {
	create(t, t.Topic, 1, nil)
	fill(t, t.Topic, 0, 3)
	values := check.Values("v", 30)
	inGroup(t, t.Topic, 0, values)

	adm := admin(t)
	defer adm.Close()
	name := "group-of-" + t.Topic
	listed, err := adm.ListGroups(t)
	t.Must("listing", err)
	t.Equal("state when listed", listed[name].State, "Empty")
	described, err := adm.DescribeGroups(t, name)
	t.Must("describing", err)
	t.Equal("state", described[name].State, "Empty")
	t.Equal("protocol type", described[name].ProtocolType, "consumer")
	fetched, err := adm.FetchOffsets(t, name)
	t.Must("fetching offsets", err)
	one, _ := fetched.Lookup(t.Topic, 0)
	t.Equal("committed", one.At, int64(30))
	set := kadm.Offsets{}
	set.AddOffset(t.Topic, 0, 7, -1)
	t.Must("committing", adm.CommitAllOffsets(t, name, set))
	lags, err := adm.Lag(t, name)
	t.Must("asking for the lag", err)
	t.Equal("lag", lags[name].Lag.Total(), int64(23))
	answers, err := adm.DeleteOffsets(t, name, set.TopicsSet())
	t.Must("deleting offsets", err)
	t.Must("deleting offsets", answers.Error())
	fetched, err = adm.FetchOffsets(t, name)
	t.Must("fetching offsets", err)
	t.Equal("offsets are left", len(fetched), 0)
	deleted, err := adm.DeleteGroups(t, name, "not-there")
	t.Must("deleting", err)
	t.Equal("deleting", deleted[name].Err, nil)
	t.Is("deleting what is not there", deleted["not-there"].Err, kerr.GroupIDNotFound)
	described, err = adm.DescribeGroups(t, name)
	t.Must("describing", err)
	gone := described[name]
	t.True("it is gone", gone.State == "Dead" || errors.Is(gone.Err, kerr.GroupIDNotFound), gone)
}

// inGroup reads a partition's values in two parts, as two members of one group, the one after the other.
func inGroup(t *check.T, topic string, partition int32, want []string, options ...kgo.Opt) {
	half := len(want) / 2
	for _, part := range [][]string{want[:half], want[half:]} {
		joined := append(slices.Clone(options), kgo.ConsumerGroup("group-of-"+topic), kgo.ConsumeTopics(topic),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.DisableAutoCommit(), kgo.HeartbeatInterval(200*time.Millisecond))
		cl := client(t, joined...)
		got := poll(t, cl, len(part))[:len(part)]
		t.Equal("the group's values", slices.Equal(texts(got), part), true)
		t.Equal("partition", got[0].Partition, partition)
		t.Must("committing", cl.CommitRecords(t, got[len(got)-1]))
		cl.Close()
	}
}

var balancers = map[string]func() kgo.GroupBalancer{
	"range":              kgo.RangeBalancer,
	"roundrobin":         kgo.RoundRobinBalancer,
	"sticky":             kgo.StickyBalancer,
	"cooperative-sticky": kgo.CooperativeStickyBalancer,
}

// owning keeps which partitions a member has, by the callbacks that it gets.
type owning struct {
	*check.Member
	lock  sync.Mutex
	owned []int32
}

func (o *owning) given(_ context.Context, cl *kgo.Client, added map[string][]int32) {
	o.lock.Lock()
	defer o.lock.Unlock()
	o.owned = append(o.owned, added[o.Topic]...)
	_, generation := cl.GroupMetadata()
	o.Assigned(generation, o.owned)
}

func (o *owning) taken(_ context.Context, _ *kgo.Client, lost map[string][]int32) {
	o.lock.Lock()
	defer o.lock.Unlock()
	o.owned = slices.DeleteFunc(o.owned, func(one int32) bool { return slices.Contains(lost[o.Topic], one) })
	o.Assigned(check.NoGeneration, o.owned)
}

func members(t *check.T) {
	t.Members(func(m *check.Member) error {
		has := &owning{Member: m}
		cl, err := kgo.NewClient(
			kgo.SeedBrokers(t.Bootstrap), kgo.FetchMaxWait(100*time.Millisecond), kgo.DisableAutoCommit(),
			kgo.ConsumerGroup(m.Group), kgo.ConsumeTopics(m.Topic), kgo.Balancers(balancers[m.Strategy]()),
			kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.BlockRebalanceOnPoll(),
			kgo.SessionTimeout(m.SessionTimeout()), kgo.HeartbeatInterval(m.HeartbeatInterval()),
			kgo.OnPartitionsAssigned(has.given), kgo.OnPartitionsRevoked(has.taken), kgo.OnPartitionsLost(has.taken),
		)
		if err != nil {
			return err
		}
		defer cl.CloseAllowingRebalance()
		for m.Err() == nil {
			fetches := cl.PollFetches(m)
			_, generation := cl.GroupMetadata()
			var seen [][2]int64
			for _, record := range fetches.Records() {
				seen = append(seen, [2]int64{int64(record.Partition), record.Offset})
			}
			if len(seen) > 0 {
				m.Seen(generation, seen...)
				// what cannot be committed, as the member is no longer one, the next owner sees again
				_ = cl.CommitRecords(context.Background(), fetches.Records()...)
			}
			cl.AllowRebalance()
		}
		return nil
	})
}
