"""The configs of this broker by Kafka's names: those of its settings, and those set at run time."""
