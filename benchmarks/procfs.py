"""What the kernel says of processes and of the machine (Linux only)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def tree(pid: int) -> list[int]:
    """The process and all that descend from it."""
    found = [pid]
    for parent in found:
        try:
            for task in Path(f"/proc/{parent}/task").iterdir():
                found += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


def cpu_seconds(pid: int) -> float:
    """CPU time of a process tree, user and system.

    The scheduler's own clock of every thread (ns), or the process's account (ticks of 10 ms) where that is
    more, as it also has the threads that ended.
    """
    total = 0.0
    for member in tree(pid):
        threads = account = 0.0
        try:
            for task in Path(f"/proc/{member}/task").iterdir():
                threads += int((task / "schedstat").read_text().split()[0]) / 1e9
            fields = Path(f"/proc/{member}/stat").read_text().rpartition(")")[2].split()
            account = (int(fields[11]) + int(fields[12])) / _TICKS
        except OSError:
            pass  # ended meanwhile
        total += threads if account < threads + 2 / _TICKS else account
    return total


@dataclass(frozen=True)
class Memory:
    """Of a process tree, in bytes. ``peak`` is the sum of each member's highest RSS."""

    rss: int
    pss: int
    peak: int


def memory(pid: int) -> Memory:
    rss = pss = peak = 0
    for member in tree(pid):
        try:
            for line in Path(f"/proc/{member}/smaps_rollup").read_text().splitlines():
                if line.startswith("Rss:"):
                    rss += int(line.split()[1]) << 10
                elif line.startswith("Pss:"):
                    pss += int(line.split()[1]) << 10
            for line in Path(f"/proc/{member}/status").read_text().splitlines():
                if line.startswith("VmHWM:"):
                    peak += int(line.split()[1]) << 10
        except OSError:
            continue
    return Memory(rss, pss, peak)


def machine_busy_seconds() -> float:
    """CPU time that all cores together have spent on anything."""
    fields = [int(text) for text in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    user, nice, system, _idle, _iowait, irq, softirq, steal = fields
    return (user + nice + system + irq + softirq + steal) / _TICKS


def describe() -> dict[str, object]:
    """The machine, for the report."""
    model = "unknown"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.partition(":")[2].strip()
            break
    total = int(Path("/proc/meminfo").read_text().split()[1]) << 10
    return {
        "cores": len(os.sched_getaffinity(0)),
        "cpu": model,
        "memory_bytes": total,
        "kernel": os.uname().release,
        "load_average": os.getloadavg(),
    }
