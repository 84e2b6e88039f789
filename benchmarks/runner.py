"""Runs the scenarios against the peers, in turn (A B A B), several rounds."""

from __future__ import annotations

import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from benchmarks import memory, procfs, raw
from benchmarks.measuring import LoadFailed, run_load
from benchmarks.peers.base import Peer, Server
from benchmarks.scenarios import Scenario

QUIET = 0.3
"""Cores that others may keep busy in a measurement that is not disturbed."""

WARM = 4 << 30
"""Bytes of the machine's memory that are touched before a round: more than the servers will write in it."""


@dataclass
class Measurement:
    """One scenario, one peer, one round."""

    scenario: str
    peer: str
    round: int
    figures: dict[str, float] = field(default_factory=dict)
    error: str = ""


class Runner:
    """Keeps one server of each peer up for the whole run; ``fresh`` scenarios get a server of their own.

    The order of the peers turns by one from scenario to scenario, so that none always comes first. Before
    each measurement the machine may take up to ``patience`` seconds to become quiet. One that others
    disturbed is made again, up to ``tries`` times in all; the one that they disturbed least counts.
    """

    def __init__(
        self,
        peers: Sequence[Peer],
        scenarios: Sequence[Scenario],
        rounds: int,
        *,
        patience: float = 0.0,
        tries: int = 1,
    ) -> None:
        self._peers = peers
        self._scenarios = scenarios
        self._rounds = rounds
        self._patience = patience
        self._tries = tries
        self._servers: dict[str, Server] = {}
        self._written: dict[tuple[str, str], dict[str, float]] = {}
        self.measurements: list[Measurement] = []
        self.failed_peers: dict[str, str] = {}

    def run(self) -> None:
        with ExitStack() as stack:
            if any(not scenario.fresh for scenario in self._scenarios):
                for peer in self._peers:
                    try:
                        self._servers[peer.name] = stack.enter_context(Server(peer))
                    except RuntimeError as error:
                        self.failed_peers[peer.name] = str(error)
                        _say(f"{peer.name} is left out: {error}")
            for number in range(1, self._rounds + 1):
                self._round(number)

    def _round(self, number: int) -> None:
        self._written.clear()
        memory.warm(WARM)
        topics: dict[str, list[str]] = {peer.name: [] for peer in self._peers}
        for turn, scenario in enumerate(self._scenarios):
            if scenario.once and number > 1:
                continue
            at = (turn + number) % len(self._peers)
            for peer in (*self._peers[at:], *self._peers[:at]):
                if peer.name in self.failed_peers or (scenario.only_kgw and peer.name != "kgw"):
                    continue
                measurement = Measurement(scenario.key, peer.name, number)
                try:
                    figures = self._least_disturbed(scenario, peer, number, topics[peer.name])
                    if figures is None:
                        continue
                    measurement.figures = figures
                except (LoadFailed, RuntimeError, OSError, ValueError) as error:
                    measurement.error = f"{type(error).__name__}: {error}"
                self.measurements.append(measurement)
                _say(f"round {number}  {scenario.title:48}  {peer.name:7} {_brief(scenario, measurement)}")
        for peer in self._peers:
            if topics[peer.name] and peer.name in self._servers:
                with raw.Client(self._servers[peer.name].address) as client:
                    client.delete_topics(*topics[peer.name])

    def _least_disturbed(
        self, scenario: Scenario, peer: Peer, number: int, topics: list[str]
    ) -> dict[str, float] | None:
        best: dict[str, float] | None = None
        for _ in range(self._tries):
            self._wait_for_quiet()
            figures = self._measure(scenario, peer, number, topics)
            if figures is None:
                return None
            if best is None or figures.get("other_cores", 0.0) < best["other_cores"]:
                best = figures
            if best.get("other_cores", 0.0) < QUIET:
                break
        return best

    def _wait_for_quiet(self) -> None:
        deadline = time.monotonic() + self._patience
        while time.monotonic() < deadline:
            before, begin = procfs.machine_busy_seconds(), time.monotonic()
            time.sleep(0.5)
            if (procfs.machine_busy_seconds() - before) / (time.monotonic() - begin) < QUIET:
                return

    def _measure(
        self, scenario: Scenario, peer: Peer, number: int, topics: list[str]
    ) -> dict[str, float] | None:
        if scenario.partitions > 1 and not peer.partitions:
            return None
        if scenario.fresh:
            with Server(peer) as server:
                if scenario.load == "start":
                    return {"start_s": server.seconds_to_answer}
                return memory.LOADS[scenario.load](server, scenario.spec)
        server = self._servers[peer.name]
        if scenario.load == "memory_after":
            now = procfs.memory(server.pid)
            stored = sum(
                written["stored_bytes"] for key, written in self._written.items() if key[1] == peer.name
            )
            figures = {"rss_mb": now.rss / 1e6, "pss_mb": now.pss / 1e6, "peak_mb": now.peak / 1e6}
            return figures | ({"rss_per_byte": now.rss / stored} if stored else {})
        with raw.Client(server.address) as client:
            if not all(key in client.versions for key in scenario.needs):
                return None
            spec: dict[str, Any] = {**scenario.spec, "partitions": scenario.partitions}
            for key in ("megabytes", "warm_up") if "megabytes" in spec else ():
                spec[key] *= peer.scale
            if scenario.reads:
                written = self._written.get((scenario.reads, peer.name))
                if written is None:
                    return None
                spec |= {"topic": _topic(scenario.reads, number), "records": written["stored"]}
                spec["size"] = written["bytes"] / written["records"]
            else:
                spec["topic"] = _topic(scenario.key, number)
                client.create_topic(spec["topic"], scenario.partitions)
                topics.append(spec["topic"])
        result = run_load(scenario.load, spec, server)
        if "stored" in result:
            before = self._written.get((scenario.key, peer.name), {"stored_bytes": 0.0})["stored_bytes"]
            result["stored_bytes"] = before + result["bytes"] * result["stored"] / result["records"]
            self._written[scenario.key, peer.name] = result
        return result | _derived(result)


def _topic(key: str, number: int) -> str:
    return f"{key}-{number}"


def _derived(result: dict[str, float]) -> dict[str, float]:
    seconds, cpu = result["seconds"], result["server_cpu"]
    if "bytes" in result:
        megabytes = result["bytes"] / 1e6
        return {
            "mb_s": megabytes / seconds,
            "krecords_s": result["records"] / seconds / 1e3,
            "cpu_ms_mb": cpu * 1e3 / megabytes,
        }
    return {"requests_s": result["requests"] / seconds, "cpu_us_request": cpu * 1e6 / result["requests"]}


def _brief(scenario: Scenario, measurement: Measurement) -> str:
    if measurement.error:
        return f"failed: {measurement.error}"
    shown = [
        f"{measurement.figures[figure.key]:.{figure.digits}f} {figure.unit}"
        for figure in scenario.figures
        if figure.key in measurement.figures
    ]
    other = measurement.figures.get("other_cores")
    return ", ".join(shown) + (f"  (others: {other:.2f} cores)" if other is not None else "")


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
