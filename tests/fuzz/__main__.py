"""``python -m tests.fuzz --minutes N --seed S``: every class of bad input, again and again."""

from __future__ import annotations

import argparse
import importlib.util
import random
import resource
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.fuzz import in_process
from tests.fuzz.attack import Attack, Finding
from tests.fuzz.catalog import CLASSES
from tests.fuzz.stored import check_stored
from tests.fuzz.target import CONFIG, Outcome, Target, running_target

FOUND = Path(__file__).parents[2] / "build" / "fuzz"
"""Reproducers, and the table of the last run as Markdown."""
IN_PROCESS = 0.25
"""Share of the time that goes to codecs and records without a socket."""


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--minutes", type=float, default=1.0, help="about how long  [default: 1]")
    parser.add_argument("--seed", type=int, default=None, help="[default: from the clock]")
    parser.add_argument("--only", default="", help="only classes whose name contains this")
    parser.add_argument("--config", type=Path, help="a kgw.toml with the topics of tests.fuzz.target.CONFIG")
    options = parser.parse_args()
    seed = options.seed if options.seed is not None else int(time.time())
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16_384), hard))
    print(f"seed {seed}, {options.minutes:g} minutes", flush=True)
    names = [name for name in CLASSES if options.only in name]
    rng = random.Random(seed)
    began = time.monotonic()
    failed = 0
    outcomes: dict[str, list[Outcome]] = {}
    config = options.config.read_text() if options.config else CONFIG
    with TemporaryDirectory() as directory, running_target(Path(directory), config) as target:
        at_rest = target.memory()
        turn = 0
        while not turn or (time.monotonic() - began) / 60 < options.minutes * (1 - IN_PROCESS):
            for name in names:
                # the first round is short and complete, then classes get time
                seconds = 0.0 if turn == 0 else min(options.minutes, 2.0)
                failed += not _run(target, name, rng, seconds, outcomes, seed)
                if turn and (time.monotonic() - began) / 60 > options.minutes * (1 - IN_PROCESS):
                    break
            turn += 1
        _table(outcomes, at_rest, target.most_memory)
        FOUND.mkdir(parents=True, exist_ok=True)
        (FOUND / "table.md").write_text(_markdown(outcomes), encoding="utf-8")
        found = check_stored(target.gateway.address)
        print(
            f"\nread back: {found.topics} topics, {found.partitions} partitions, {found.batches:,} batches, "
            f"{found.records:,} records, {found.bytes / 1e6:.1f} MB; all CRCs fit, no gaps"
        )
    if not options.only or options.only in "in process":
        guided = importlib.util.find_spec("atheris") is not None
        seconds = options.minutes * 60 * IN_PROCESS / (2 if guided else 1)
        failed += not _in_process(rng, seconds, seed)
        failed += guided and not _guided(seconds, seed)
        if not guided:
            print("\natheris is not installed: no inputs were chosen by coverage")
    print(
        f"\n{time.monotonic() - began:.0f} s, seed {seed}: "
        + (f"{failed} findings" if failed else "no finding")
    )
    return 1 if failed else 0


def _run(
    target: Target,
    name: str,
    rng: random.Random,
    seconds: float,
    outcomes: dict[str, list[Outcome]],
    seed: int,
) -> bool:
    try:
        outcome, _ = target.run(name, CLASSES[name], rng, seconds)
    except Exception as error:
        attack: Attack | None = getattr(error, "attack", None)
        print(f"FINDING in {name}: {error}", flush=True)
        for note in getattr(error, "__notes__", []) if not isinstance(error, Finding) else []:
            print(note)
        _save(name, seed, list(attack.sent) if attack else [], error)
        if target.gateway.process.poll() is not None:
            raise
        return False
    outcomes.setdefault(name, []).append(outcome)
    return True


def _in_process(rng: random.Random, seconds: float, seed: int) -> bool:
    try:
        counts = in_process.play(rng, seconds)
    except Finding as error:
        print(f"FINDING in process: {error}")
        _save("in process", seed, [getattr(error, "data", b"")], error)
        return False
    print("\nIn process:")
    for what, count in sorted(counts.items()):
        print(f"  {count:>9,}  {what}")
    print(f"  {sum(counts.values()):>9,}  in all")
    return True


def _guided(seconds: float, seed: int) -> bool:
    command = [sys.executable, "-m", "tests.fuzz.guided", "--seconds", str(max(int(seconds), 1))]
    ended = subprocess.run([*command, "--seed", str(seed)], capture_output=True, text=True, check=False)
    stats = [line for line in ended.stderr.splitlines() if "stat::number_of_executed_units" in line]
    covered = [word for word in ended.stderr.split("cov: ")[-1:] if word]
    if ended.returncode or not stats:
        print(f"FINDING by coverage ({ended.returncode}), saved in {FOUND}:\n{ended.stderr[-3_000:]}")
        return False
    points = covered[0].split()[0] if covered else "?"
    print(f"\nBy coverage: {int(stats[0].split()[-1]):,} inputs, {points} points of the code covered")
    return True


def _save(name: str, seed: int, sent: list[bytes], error: Exception) -> None:
    """The last bytes that were sent, the newest at the end, for sending them again; and the fault."""
    FOUND.mkdir(parents=True, exist_ok=True)
    stem = f"{''.join(char if char.isalnum() else '-' for char in name)}-{seed}-{time.time_ns() // 10**6}"
    (FOUND / f"{stem}.bin").write_bytes(b"".join(sent))
    notes = "\n".join(getattr(error, "__notes__", []))
    (FOUND / f"{stem}.txt").write_text(f"{name}, seed {seed}\n{error}\n{notes}\n", encoding="utf-8")
    print(f"  saved as {FOUND / stem}.bin and .txt", flush=True)


def _table(outcomes: dict[str, list[Outcome]], at_rest: int, most: int) -> None:
    print(f"\nAt rest the gateway has {at_rest / 1e6:.0f} MB; its limits allow {most / 1e6:,.0f}.\n")
    print(f"{'class':<34}{'requests':>10}{'stall':>10}{'blamed':>9}{'peak RSS':>10}  outcome")
    for name, runs in outcomes.items():
        total: Counter[str] = sum((run.outcomes for run in runs), Counter())
        what = ", ".join(f"{count:,} {outcome}" for outcome, count in total.most_common(6))
        stall = max(run.stall for run in runs) * 1000
        blamed = max(max(run.blamed for run in runs) * 1000, 0)
        peak = max(run.peak for run in runs) / 1e6
        requests = sum(run.requests for run in runs)
        print(f"{name:<34}{requests:>10,}{stall:>7.0f} ms{blamed:>6.0f} ms{peak:>7.0f} MB  {what}")


def _markdown(outcomes: dict[str, list[Outcome]]) -> str:
    lines = [
        "| class | sent | what it got | longest turn | blamed | peak |",
        "|---|---:|---|---:|---:|---:|",
    ]
    for name, runs in outcomes.items():
        total: Counter[str] = sum((run.outcomes for run in runs), Counter())
        what = ", ".join(f"{count:,} {outcome}" for outcome, count in total.most_common(8))
        stall, blamed = max(run.stall for run in runs), max([0.0, *(run.blamed for run in runs)])
        lines.append(
            f"| {name} | {sum(run.requests for run in runs):,} | {what} | {stall * 1000:.0f} ms "
            f"| {blamed * 1000:.0f} ms | {max(run.peak for run in runs) / 1e6:.0f} MB |"
        )
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
