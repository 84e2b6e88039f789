"""Odd but legal requests, asked of a Kafka and of a kgw side by side: ``python -m tools.replay``.

A scene (:mod:`tools.replay.scenes`) is a list of requests about topics and groups of its own. What a broker
answers is made comparable (:mod:`tools.replay.comparing`). A difference is meant, with its reason in
:mod:`tools.replay.meant`, or it is a fault. What Apache Kafka 4.4.0 answered is kept in ``tests/replay``:
``make test`` compares it with a gateway. How to use it: docs/how-to/compare-with-kafka.md.
"""
