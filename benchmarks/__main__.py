"""``python -m benchmarks``: kgw beside other brokers, in one run on one machine.

compare   the whole table: rates, server CPU a MB and a request, latencies, memory, start
memory    only the rows about memory, of kgw
build     build the peers (Kafka, kfake; others by name)
list      the peers and the scenarios
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from benchmarks import procfs
from benchmarks.peers import PEERS
from benchmarks.peers.base import BUILD, CannotBuild, Peer
from benchmarks.report import Results
from benchmarks.runner import Runner
from benchmarks.scenarios import Scenario, scenarios

MEMORY = ("idle", "retained-4k", "retained-100", "partition")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _parser().parse_args(arguments)
    signal.signal(signal.SIGTERM, _stop)  # so that servers are told to end, and what there is is written
    if not os.path.exists("/proc/self/schedstat"):
        print("The benchmarks read /proc as Linux has it; there is none here.", file=sys.stderr)
        return 1
    if options.what == "list":
        for peer in PEERS.values():
            print(f"{peer.name:10} {peer.storage:20} {peer.version if peer.built else 'not built'}")
        for scenario in scenarios(options.full):
            print(f"{scenario.key:18} {scenario.title}")
        return 0
    if options.what == "build":
        names = options.peers or [peer.name for peer in PEERS.values() if peer.default]
        _ready([PEERS[name] for name in names], build=True)
        return 0
    wanted = [row for row in scenarios(options.full) if not options.only or row.key in options.only]
    if options.what == "memory":
        wanted = [row for row in wanted if row.key in MEMORY]
        options.peers = options.peers or ["kgw"]
    names = options.peers or [
        peer.name for peer in PEERS.values() if peer.default or (peer.built and not peer.by_name_only)
    ]
    peers = _ready([PEERS[name] for name in names], build=not options.built_only)
    return _compare(peers, wanted, options)


def _stop(*_: object) -> None:
    raise KeyboardInterrupt


def _ready(peers: Sequence[Peer], *, build: bool) -> list[Peer]:
    """Those that can run; why the others cannot is printed."""
    ready = []
    for peer in peers:
        if not peer.built:
            if not build:
                print(f"{peer.name} is skipped: not built (python -m benchmarks build)", file=sys.stderr)
                continue
            print(f"building {peer.name}", file=sys.stderr)
            try:
                peer.build()
            except CannotBuild as error:
                print(f"{peer.name} is skipped: {error}", file=sys.stderr)
                continue
        ready.append(peer)
    return ready


def _compare(peers: Sequence[Peer], wanted: Sequence[Scenario], options: argparse.Namespace) -> int:
    machine = procfs.describe()
    begin = time.time()
    runner = Runner(peers, wanted, options.rounds, patience=options.patience, tries=options.tries)
    try:
        runner.run()
    except KeyboardInterrupt:
        print("stopped; this is what there is", file=sys.stderr)
    about = {
        "rounds": options.rounds,
        "loads": "long" if options.full else "short",
        "date": time.strftime("%Y-%m-%d", time.gmtime(begin)),
        "minutes": round((time.time() - begin) / 60, 1),
        **machine,
    }
    versions = {
        peer.name: f"{peer.version} ({peer.storage})"
        for peer in peers
        if peer.name not in runner.failed_peers
    }
    results = Results(wanted, versions, runner.measurements, about)
    results.write(options.out)
    print(results.text())
    print(f"written to {options.out}", file=sys.stderr)
    return (
        1 if any(measurement.error for measurement in runner.measurements if measurement.peer == "kgw") else 0
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", nargs="?", default="compare", choices=("compare", "memory", "build", "list"))
    parser.add_argument(
        "--peers", nargs="+", choices=list(PEERS), help="which; left out, those that are cheap to have"
    )
    parser.add_argument("--only", nargs="+", metavar="SCENARIO", help="rows by key (see list)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--patience", type=float, default=2.0, help="seconds to wait for a quiet machine")
    parser.add_argument("--tries", type=int, default=1, help="measure again what others disturbed")
    parser.add_argument("--full", action="store_true", help="long loads")
    parser.add_argument("--built-only", action="store_true", help="build nothing")
    parser.add_argument(
        "--out", type=Path, default=BUILD / "results", help="folder for JSON, table and plots"
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
