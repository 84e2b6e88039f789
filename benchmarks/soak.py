"""Growth over time: a gateway under a mixed load whose data is bounded, and its memory every few seconds.

``python -m benchmarks.soak --minutes 60``. Each cycle writes and reads through connections that stay, through
new ones, through clients that come and go, and through long polls; topics are created and deleted; what is
kept is bounded by ``retention.bytes``. After the first third, the memory should stand still: a line is laid
through the samples of the rest, and the run fails where it rises by more than ``--most`` KiB a minute and by
more than the samples spread. Too short for a line, as in CI, it still fails where the memory ever passes
``--bound`` MiB, several times what such a load needs.
"""

from __future__ import annotations

import argparse
import json
import signal
import statistics
import sys
import time
from pathlib import Path

from confluent_kafka import Consumer, Producer, TopicPartition

from benchmarks import procfs, raw
from benchmarks.peers import PEERS
from benchmarks.peers.base import BUILD, Server

SETTINGS = {"KGW_TOPICS__RETENTION_CHECK_INTERVAL": "2s"}
KEPT = 8 << 20
"""``retention.bytes`` of the topic that stays."""

LINE = 3
"""Minutes from which on a line through the samples tells growth from a start."""


class Load:
    """The mixed load; ``cycle`` takes about a second."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._client = raw.Client(server.address)
        self._client.create_topic("stays", 6, retention_bytes=str(KEPT))
        self._small, self._large = raw.sized_batch(168), raw.sized_batch(200_000)
        self._producer = Producer({"bootstrap.servers": server.bootstrap, "linger.ms": 5})
        self.cycles = 0

    def cycle(self) -> None:
        self.cycles += 1
        client, topic = self._client, f"goes-{self.cycles}"
        for partition in range(6):
            client.pump([client.produce_frame("stays", partition, self._small)], 300, 20)
            client.pump([client.produce_frame("stays", partition, self._large)], 4, 2)
        for number in range(2000):
            self._producer.produce("stays", b"x" * 100, partition=number % 6)
        self._producer.flush(30)
        client.create_topic(topic, 10)
        for partition in range(10):
            client.pump([client.produce_frame(topic, partition, self._small)], 20, 20)
        self._connections_that_go()
        self._clients_that_go(topic)
        client.delete_topics(topic)

    def _connections_that_go(self) -> None:
        """Twenty: a third ends in a long poll, a third within a frame, a third between requests."""
        for number in range(20):
            with raw.Client(self._server.address) as client:
                frame = client.fetch_frame("stays", 1 << 40, 1 << 20, wait_ms=20_000)
                client.sock.sendall(frame if number % 3 == 0 else frame[: 20 * (number % 3)])

    def _clients_that_go(self, topic: str) -> None:
        settings = {"bootstrap.servers": self._server.bootstrap, "group.id": f"soak-{self.cycles}"}
        consumer = Consumer(settings | {"enable.auto.commit": False, "auto.offset.reset": "earliest"})
        consumer.assign([TopicPartition(topic, partition, 0) for partition in range(10)])
        got, deadline = 0, time.monotonic() + 20
        while got < 200:
            got += len(consumer.consume(200, 1.0))
            if time.monotonic() > deadline:
                raise RuntimeError(f"only {got} of 200 records came")
        consumer.close()


def slope(samples: list[tuple[float, float]]) -> float:
    """Of the line of least squares."""
    times, values = zip(*samples, strict=True)
    return statistics.linear_regression(times, values).slope


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0)
    parser.add_argument("--most", type=float, default=64.0, help="KiB of growth a minute that are no leak")
    parser.add_argument("--bound", type=float, default=384.0, help="MiB that the server may ever take")
    parser.add_argument("--out", type=Path, default=BUILD / "soak.json")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    samples: list[tuple[float, float]] = []
    PEERS["kgw"].build()
    with Server(PEERS["kgw"], SETTINGS) as server:
        load = Load(server)
        begin, shown = time.monotonic(), 0.0
        while (now := time.monotonic() - begin) < options.minutes * 60:
            load.cycle()
            samples.append((now / 60, procfs.memory(server.pid).rss / 1024))
            if now - shown >= 30:
                shown = now
                print(
                    f"{now / 60:6.1f} min  cycle {load.cycles:5}  {samples[-1][1] / 1024:8.1f} MiB",
                    flush=True,
                )
    later = samples[len(samples) // 3 :]
    growth = slope(later)
    spread = statistics.pstdev(value for _, value in later)
    rise = growth * (later[-1][0] - later[0][0])
    most = max(value for _, value in samples) / 1024
    leaks = growth > options.most and rise > 2 * spread and options.minutes >= LINE
    result = {
        "minutes": options.minutes,
        "cycles": load.cycles,
        "first_mib": samples[0][1] / 1024,
        "last_mib": samples[-1][1] / 1024,
        "most_mib": most,
        "bound_mib": options.bound,
        "growth_kib_minute": growth,
        "spread_kib": spread,
        "leaks": leaks,
        "samples": samples,
    }
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(json.dumps(result) + "\n")
    print(json.dumps({name: value for name, value in result.items() if name != "samples"}, indent=1))
    return int(leaks or most > options.bound)


if __name__ == "__main__":
    sys.exit(main())
