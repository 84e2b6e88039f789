"""Side by side against real brokers: ``python -m benchmarks --help``."""
