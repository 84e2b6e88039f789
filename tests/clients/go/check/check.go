// Package check is what the Go client programs share: it runs the scenario that was asked for, prints every
// comparison as one line of JSON, and ends the process with a status that says whether all were right.
package check

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand"
	"os"
	"reflect"
	"sort"
	"strings"
	"time"
)

// Scenarios are the functions of a program by name.
type Scenarios map[string]func(*T)

// T is one run of one scenario.
type T struct {
	context.Context
	Bootstrap string
	Topic     string // a name that no other run uses, or the one from the command line
	Scenario  string
	failed    bool
}

type stop struct{}

// Main runs what the command line asks for: BOOTSTRAP SCENARIO [TOPIC]. The scenario "list" names them all.
func Main(scenarios Scenarios) {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "usage: program BOOTSTRAP SCENARIO [TOPIC]")
		os.Exit(2)
	}
	name := os.Args[2]
	if name == "list" {
		for scenario := range scenarios {
			emit(map[string]any{"scenario": scenario})
		}
		return
	}
	run, known := scenarios[name]
	if !known {
		fmt.Fprintf(os.Stderr, "there is no scenario %q\n", name)
		os.Exit(2)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 45*time.Second)
	defer cancel()
	t := &T{Context: ctx, Bootstrap: os.Args[1], Scenario: name}
	if len(os.Args) > 3 {
		t.Topic = os.Args[3]
	} else {
		t.Topic = t.Name()
	}
	func() {
		defer func() {
			if reason := recover(); reason != nil {
				if _, known := reason.(stop); !known {
					panic(reason)
				}
			}
		}()
		run(t)
	}()
	if t.failed {
		os.Exit(1)
	}
}

// Name is a topic name that no other run uses.
func (t *T) Name() string {
	return fmt.Sprintf("%s-%08x", t.Scenario, rand.Uint32())
}

// Equal compares; the scenario goes on either way.
func (t *T) Equal(what string, got, want any) {
	line := map[string]any{"check": what, "ok": reflect.DeepEqual(got, want)}
	if line["ok"] != true {
		t.failed = true
		line["got"], line["want"] = fmt.Sprintf("%#v", got), fmt.Sprintf("%#v", want)
	}
	emit(line)
}

// True is for what has no value to compare with; got is shown where it fails.
func (t *T) True(what string, ok bool, got any) {
	line := map[string]any{"check": what, "ok": ok}
	if !ok {
		t.failed = true
		line["got"] = fmt.Sprintf("%#v", got)
	}
	emit(line)
}

// Is checks that an error is, or wraps, another.
func (t *T) Is(what string, got, want error) {
	t.True(what, errors.Is(got, want), fmt.Sprintf("%v, not %v", got, want))
}

// Mentions checks that there is an error and that its text contains a word.
func (t *T) Mentions(what string, err error, word string) {
	t.True(what, err != nil && strings.Contains(err.Error(), word), fmt.Sprintf("%v", err))
}

// Must ends the scenario at an error.
func (t *T) Must(what string, err error) {
	if err != nil {
		t.failed = true
		emit(map[string]any{"check": what, "ok": false, "error": err.Error()})
		panic(stop{})
	}
}

// Record is a record as the tests between clients pass it on: nil is Kafka's null.
type Record struct {
	Partition int32       `json:"partition"`
	Offset    int64       `json:"offset"`
	Timestamp int64       `json:"timestamp"`
	Key       *string     `json:"key"`
	Value     *string     `json:"value"`
	Headers   [][2]string `json:"headers"`
}

// Text gives the bytes of a key or value.
func Text(of *string) []byte {
	if of == nil {
		return nil
	}
	return []byte(*of)
}

// Pointer is the reverse of Text.
func Pointer(of []byte) *string {
	if of == nil {
		return nil
	}
	text := string(of)
	return &text
}

// Part is what a write scenario puts into one partition, in one batch if it can.
type Part struct {
	Codec     string   `json:"codec"`
	Partition int32    `json:"partition"`
	Records   []Record `json:"records"`
}

// Parts reads what to write from standard input.
func (t *T) Parts() []Part {
	var parts []Part
	t.Must("reading standard input", json.NewDecoder(os.Stdin).Decode(&parts))
	return parts
}

// Print shows records that were read, by partition and offset.
func (t *T) Print(records []Record) {
	sort.SliceStable(records, func(a, b int) bool {
		if records[a].Partition != records[b].Partition {
			return records[a].Partition < records[b].Partition
		}
		return records[a].Offset < records[b].Offset
	})
	for _, record := range records {
		if record.Headers == nil {
			record.Headers = [][2]string{}
		}
		emit(record)
	}
}

// Values are the texts "<prefix>0" to "<prefix>n-1".
func Values(prefix string, n int) []string {
	values := make([]string, n)
	for i := range values {
		values[i] = fmt.Sprintf("%s%d", prefix, i)
	}
	return values
}

func emit(line any) {
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(line); err != nil {
		panic(err)
	}
	os.Stdout.Write(text.Bytes())
}
