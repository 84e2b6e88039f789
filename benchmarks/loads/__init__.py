"""The loads: each runs in a process of its own, with confluent-kafka (librdkafka) as the client."""
