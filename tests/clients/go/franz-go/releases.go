package main

import (
	"math/rand"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kversion"
	"kgw.test/check"
)

// release is a release of Kafka whose clients sent no newer requests than this.
type release struct {
	name           string
	versions       *kversion.Versions
	produce, fetch string
	codecs         []string
}

var (
	first    = []string{"none", "gzip", "snappy"}
	withLZ4  = []string{"none", "gzip", "snappy", "lz4"}
	withZstd = []string{"none", "gzip", "snappy", "lz4", "zstd"}
	releases = []release{
		{"0.8.2", kversion.V0_8_2(), "0", "0", first},
		{"0.9.0", kversion.V0_9_0(), "1", "1", first},
		{"0.10.0", kversion.V0_10_0(), "2", "2", withLZ4},
		{"0.10.2", kversion.V0_10_2(), "2", "3", withLZ4},
		{"0.11.0", kversion.V0_11_0(), "3", "5", withLZ4},
		{"1.0.0", kversion.V1_0_0(), "5", "6", withLZ4},
		{"1.1.0", kversion.V1_1_0(), "5", "7", withLZ4},
		{"2.0.0", kversion.V2_0_0(), "6", "8", withLZ4},
		{"2.1.0", kversion.V2_1_0(), "7", "10", withZstd},
		{"2.3.0", kversion.V2_3_0(), "7", "11", withZstd},
		{"2.8.0", kversion.V2_8_0(), "9", "12", withZstd},
		{"3.0.0", kversion.V3_0_0(), "9", "12", withZstd},
		{"3.1.0", kversion.V3_1_0(), "9", "13", withZstd},
		{"3.5.0", kversion.V3_5_0(), "9", "15", withZstd},
		{"3.9.0", kversion.V3_9_0(), "11", "17", withZstd},
		{"4.0.0", kversion.V4_0_0(), "12", "17", withZstd},
		{"4.4.0", kversion.V4_4_0(), "13", "18", withZstd},
	}
)

func (r release) run(t *check.T) {
	create(t, t.Topic, 2, nil)
	noise := make([]byte, 100_000)
	rand.New(rand.NewSource(5)).Read(noise)
	var want []string
	sent := &versions{}
	pinned := []kgo.Opt{kgo.MaxVersions(r.versions), kgo.WithLogger(sent)}
	idempotent := r.versions.HasKey(22) // InitProducerID
	for _, codec := range r.codecs {
		options := append(pinned, kgo.ProducerBatchCompression(codecs[codec]), kgo.ProducerLinger(20*time.Millisecond))
		if !idempotent {
			options = append(options, kgo.DisableIdempotentWrite())
		}
		cl := client(t, options...)
		values := append(check.Values(codec+" again and again and again ", 50), string(noise))
		produce(t, cl, t.Topic, 1, int64(len(want)), values)
		want = append(want, values...)
		cl.Close()
	}
	for from := 0; from < len(want); from += 47 {
		got := consume(t, t.Topic, 1, kgo.NewOffset().At(int64(from)), len(want)-from, pinned...)
		wrong := 0
		for i, record := range got {
			if string(record.Value) != want[from+i] || record.Offset != int64(from+i) {
				wrong++
			}
		}
		t.Equal("records that came back different", wrong, 0)
		t.Equal("how many came", len(got), len(want)-from)
	}
	t.Equal("version of Produce", sent.of("Produce"), r.produce)
	t.Equal("version of Fetch", sent.of("Fetch"), r.fetch)
	if r.versions.HasKey(19) {
		r.admin(t, pinned)
	}
	if r.versions.HasKey(14) { // SyncGroup: 0.8 has no groups of this kind
		inGroup(t, t.Topic, 1, want, pinned...)
	}
}

// admin makes and deletes topics, from 0.10.1 on.
func (r release) admin(t *check.T, pinned []kgo.Opt) {
	topic := t.Name()
	adm := admin(t, pinned...)
	defer adm.Close()
	answer, err := adm.CreateTopic(t, 2, 1, nil, topic)
	t.Must("creating", err)
	t.Must("creating", answer.Err)
	listed, err := adm.ListEndOffsets(t, t.Topic)
	t.Must("listing offsets", err)
	offset, _ := listed.Lookup(t.Topic, 1)
	t.Equal("end", offset.Offset, int64(len(r.codecs)*51))
	deleted, err := adm.DeleteTopic(t, topic)
	t.Must("deleting", err)
	t.Must("deleting", deleted.Err)
}
