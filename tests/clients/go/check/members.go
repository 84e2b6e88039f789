package check

import (
	"bufio"
	"context"
	"encoding/json"
	"os"
	"sync"
	"time"
)

// Order starts or stops a member of a group: one line of JSON on standard input.
type Order struct {
	Start     string `json:"start"`
	Stop      string `json:"stop"`
	Group     string `json:"group"`
	Topic     string `json:"topic"`
	Strategy  string `json:"strategy"`
	Session   int    `json:"session"`   // milliseconds
	Heartbeat int    `json:"heartbeat"` // milliseconds
}

// Member is one member of a group; its context ends when it is to leave.
type Member struct {
	context.Context
	Order
}

// NoGeneration is for what a member tells while it is not clear in which generation it is.
const NoGeneration = -1

// Assigned tells which partitions the member has now.
func (m *Member) Assigned(generation int32, partitions []int32) {
	if partitions == nil {
		partitions = []int32{}
	}
	emit(map[string]any{"member": m.Start, "generation": generation, "assigned": partitions})
}

// Seen tells which records, as partition and offset, the member got.
func (m *Member) Seen(generation int32, records ...[2]int64) {
	emit(map[string]any{"member": m.Start, "generation": generation, "seen": records})
}

// SessionTimeout is how long the member may be silent.
func (m *Member) SessionTimeout() time.Duration {
	return time.Duration(m.Session) * time.Millisecond
}

// HeartbeatInterval is how often it tells that it lives.
func (m *Member) HeartbeatInterval() time.Duration {
	return time.Duration(m.Heartbeat) * time.Millisecond
}

// Members runs members as standard input orders it, each as a call of run, and stops them all at its end.
func (t *T) Members(run func(*Member) error) {
	stops := map[string]context.CancelFunc{}
	var running sync.WaitGroup
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		var order Order
		t.Must("reading an order", json.Unmarshal(lines.Bytes(), &order))
		if order.Stop != "" {
			stops[order.Stop]()
			continue
		}
		ctx, stop := context.WithCancel(context.Background()) // t's own ends soon
		stops[order.Start] = stop
		running.Add(1)
		go func() {
			defer running.Done()
			line := map[string]any{"member": order.Start, "stopped": true}
			if err := run(&Member{ctx, order}); err != nil {
				line["error"] = err.Error()
			}
			emit(line)
		}()
	}
	for _, stop := range stops {
		stop()
	}
	running.Wait()
}
