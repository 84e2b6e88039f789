"""The gateway under attack: one process, a healthy pair beside the attacker, its log and its memory."""

from __future__ import annotations

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from kgw_core.config import load
from kgw_core.testing.gateway import GatewayProcess, gateway_process
from tests.fuzz.attack import Attack, Finding
from tests.fuzz.healthy import HealthyPair

STALL = 0.1
"""The longest wait of a healthy client in seconds, without the waits that the machine caused."""

CONFIG = """
[[listeners]]
port = 0

[limits]
handshake_timeout = "2s"
frame_timeout = "2s"
max_connections = 5000
max_total_in_flight_bytes = "256MiB"
max_total_queued_bytes = "256MiB"
max_partitions = 2000

[topics]
auto_create = true

[groups]
initial_rebalance_delay = 0

[[topics.create]]
name = "healthy"

[[topics.create]]
name = "fuzz"
partitions = 2

[[topics.create]]
name = "squeezed"
configs = { "compression.type" = "gzip" }

[[topics.create]]
name = "compacted"
configs = { "cleanup.policy" = "compact" }

[storage]
use = "memory"
"""
"""The limits on time are short, and those on memory in all small, so that tests see them at work."""

_CLOSING = re.compile(r"closing connection of 127\.0\.0\.1:(\d+)\b")
_BAD = re.compile(r"Traceback|^\S+ (ERROR|CRITICAL) |^\S* ?Exception in", re.MULTILINE)


@dataclass(frozen=True)
class Outcome:
    """What one class of bad input led to. ``stall``: the healthy pair's longest turn, ``blamed``:
    the longest without the machine's fault, seconds; ``peak``:
    the gateway's peak resident memory meanwhile, bytes."""

    name: str
    requests: int
    outcomes: Counter[str]
    stall: float
    blamed: float
    peak: int
    seconds: float


class Target:
    """Runs one class of bad input after the other against a gateway."""

    def __init__(self, gateway: GatewayProcess, pair: HealthyPair) -> None:
        self.gateway = gateway
        self.most_memory = load(gateway.log_path.with_name("kgw.toml"), {}).limits.most_memory
        self._pair = pair
        self._read = 0

    def run(
        self, name: str, play: Callable[[Attack], None], rng: random.Random, seconds: float = 0
    ) -> tuple[Outcome, Attack]:
        """Let ``play`` attack, then look at the log, the memory and the pair.

        :raises Finding: an error in the gateway's log, a closed connection without exactly one line there,
            or a healthy client that saw an error or a stall. Its ``attack`` has what was sent last.
        """
        attack = Attack(self.gateway.address, rng, seconds)
        self._new_log()
        before = self.memory()
        self._forget_peak()
        self._pair.report()
        began = time.monotonic()
        try:
            play(attack)
            report = self._pair.report()
            self._check_log(attack)
        except Exception as error:
            error.attack = attack  # type: ignore[attr-defined]
            code = self.gateway.process.poll()
            if code is not None:
                error.add_note(f"the gateway has ended with {code}")
            error.add_note(f"the end of its log:\n{self.gateway.log[-3_000:]}")
            raise
        outcome = Outcome(
            name,
            attack.requests,
            attack.outcomes,
            report.worst,
            report.blamed,
            self._memory("VmHWM"),
            time.monotonic() - began,
        )
        if report.errors:
            raise _with(attack, f"{name}: a healthy client saw {report.errors}")
        if outcome.peak > before + self.most_memory:
            raise _with(
                attack,
                f"{name}: {outcome.peak >> 20} MiB, of which {before >> 20} were taken before, "
                f"and limits allow {self.most_memory >> 20}",
            )
        if report.blamed > STALL:
            raise _with(
                attack,
                f"{name}: a healthy client waited {report.worst * 1000:.0f} ms, of which "
                f"{report.blamed * 1000:.0f} ms are not the machine's fault",
            )
        return outcome, attack

    def memory(self) -> int:
        """Resident memory now, bytes."""
        return self._memory("VmRSS")

    # -- the log

    def _new_log(self) -> str:
        with self.gateway.log_path.open("rb") as file:
            file.seek(self._read)
            text = file.read()
        self._read += len(text)
        return text.decode(errors="replace")

    def _check_log(self, attack: Attack) -> None:
        """Each connection that the gateway closed has one line; no line is the gateway's fault."""
        text = ""
        deadline = time.monotonic() + 5
        while True:
            text += self._new_log()
            lines = Counter(int(port) for port in _CLOSING.findall(text))
            missing = attack.closed_ports - lines
            if not missing or time.monotonic() > deadline:
                break
            time.sleep(0.01)
        bad = _BAD.search(text)
        if bad:
            raise _with(
                attack, f"the gateway's log has an error:\n{text[max(bad.start() - 300, 0) :][:3000]}"
            )
        if missing:
            raise _with(attack, f"connections closed without a line in the log: {sum(missing.values())}")
        twice = {port for port, count in lines.items() if count > attack.opened_ports[port] > 0}
        if twice:
            raise _with(
                attack, f"connections with more than one line for their end: ports {sorted(twice)[:5]}"
            )

    # -- memory

    def _forget_peak(self) -> None:
        Path(f"/proc/{self.gateway.pid}/clear_refs").write_text("5")

    def _memory(self, field: str) -> int:
        text = Path(f"/proc/{self.gateway.pid}/status").read_text()
        found = re.search(rf"^{field}:\s+(\d+) kB", text, re.MULTILINE)
        assert found is not None
        return int(found[1]) * 1024


def _with(attack: Attack, message: str) -> Finding:
    finding = Finding(message)
    finding.attack = attack  # type: ignore[attr-defined]
    return finding


@contextmanager
def running_target(directory: Path, config: str = CONFIG) -> Iterator[Target]:
    """A gateway of its own with a healthy pair; leaving stops both and looks at how the gateway ended."""
    with (
        gateway_process(directory, config=config, drain_seconds=30) as gateway,
        HealthyPair(gateway.address, gateway.pid) as pair,
    ):
        yield Target(gateway, pair)
