"""Play odd but legal requests on a Kafka and on a kgw, and print what differs."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tools.replay import brokers
from tools.replay.comparing import Difference, differences
from tools.replay.meant import reason, unused
from tools.replay.playing import Player, SetUpFailed, Versions
from tools.replay.recording import Recording, digest, load, save
from tools.replay.scene import Scene, written
from tools.replay.talking import Talk

RECORDED = Path(__file__).parents[2] / "tests" / "replay" / "kafka-4.4.0.jsonl"


def main() -> int:
    """0: only meant differences; 1: others; 2: it could not be tried."""
    given = _arguments()
    scenes = written(given.only)
    try:
        with ExitStack() as stack:
            if given.recorded:
                recording = load(given.recorded)
            else:
                recording = _record(scenes, stack.enter_context(Talk(brokers.kafka(given.kafka, stack))))
            if given.record:
                save(given.record, recording)
                print(f"{len(recording.answers)} answers in {given.record}")
                return 0
            talk = stack.enter_context(Talk(brokers.kgw(given.kgw, stack)))
            ours = _answers(scenes, talk, recording.versions)
    except SetUpFailed as error:
        print(error, file=sys.stderr)
        return 2
    return _told(list(_compared(scenes, recording, ours)), len(ours), whole=not given.only, all=given.all)


def _record(scenes: list[Scene], talk: Talk) -> Recording:
    versions = talk.versions()
    answers = _answers(scenes, talk, versions)
    requests = {label: digest(step.request) for each in scenes for label, step in each.labelled().items()}
    return Recording(versions, answers, {label: requests[label] for label in answers})


def _answers(scenes: list[Scene], talk: Talk, versions: Versions) -> dict[str, Any]:
    player = Player(talk, versions)
    player.check_empty()
    player.warm_up()
    answers: dict[str, Any] = {}
    try:
        for scene in scenes:
            answers |= player.play(scene)
    finally:
        player.clean_up()
    return answers


def _compared(scenes: list[Scene], recording: Recording, ours: dict[str, Any]) -> list[Difference]:
    found: list[Difference] = []
    for scene in scenes:
        for label, step in scene.labelled().items():
            if label in ours:
                theirs = recording.answers[label]
                found += differences(label, theirs, ours[label], ordered=step.ordered)
    return found


def _told(found: list[Difference], answers: int, *, whole: bool, all: bool) -> int:
    reasons: Counter[str] = Counter()
    faults = 0
    for difference in found:
        why = reason(difference)
        if why is None or all:
            print(difference, f"    meant: {why}" if why else "    NOT MEANT", sep="\n")
        if why is None:
            faults += 1
        else:
            reasons[why] += 1
    for why, count in reasons.items():
        print(f"{count:5} meant: {why}")
    old = unused(found) if whole else []
    for each in old:
        print(f"no longer different: {each.label} {each.path} ({each.why})")
    print(f"{answers} answers, {len(found)} differences, {faults} of them not meant")
    return 1 if faults or old else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tools.replay",
        description=f"{__doc__} Topics and groups that begin with 'replay' are made and deleted.",
    )
    add = parser.add_argument
    add("--kafka", metavar="HOST:PORT", help="not given: one is built from Maven Central and started (Java)")
    add("--kgw", metavar="HOST:PORT", help="not given: one is started, with its records in memory")
    add("--only", nargs="*", default=[], metavar="PART", help="scenes whose names contain one of these")
    add("--all", action="store_true", help="print the differences that are meant, too")
    add(
        "--recorded",
        nargs="?",
        type=Path,
        const=RECORDED,
        metavar="FILE",
        help="compare with what a Kafka answered before (not given: with the one in tests/replay)",
    )
    add("--record", type=Path, metavar="FILE", help="only write down what the Kafka answers")
    return parser.parse_args()


sys.exit(main())
