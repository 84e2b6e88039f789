package main

import (
	"github.com/IBM/sarama"
	"kgw.test/check"
)

type versioned func(sarama.KafkaVersion) func(*check.T)

// as runs all that a release has, as a client of that release would, each with a topic of its own.
func as(version sarama.KafkaVersion) func(*check.T) {
	scenarios := []versioned{syncProducer, asyncProducer, throughCodecs, everyAcks, consumePartition, clientOffsets, group}
	if version.IsAtLeast(sarama.V0_11_0_0) {
		scenarios = append(scenarios, idempotent, adminTopics, adminConfigs)
	}
	return func(t *check.T) {
		for _, scenario := range scenarios {
			t.Topic = t.Name()
			scenario(version)(t)
		}
	}
}
