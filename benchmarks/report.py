"""From measurements to medians, goals, a table, JSON, and plots."""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.plots import bars
from benchmarks.runner import Measurement
from benchmarks.scenarios import Figure, Scenario

PLOTTED = (
    "mb_s",
    "krecords_s",
    "cpu_ms_mb",
    "requests_s",
    "cpu_us_request",
    "p50_us",
    "p99_us",
    "kib",
    "start_s",
)


@dataclass(frozen=True)
class Verdict:
    """A goal, and whether kgw meets it. ``value`` is kgw's figure, or its ratio to ``against``."""

    scenario: str
    figure: str
    goal: str
    value: float
    against: str
    met: bool


class Results:
    """All measurements of a run, and what follows from them."""

    def __init__(
        self,
        scenarios: Sequence[Scenario],
        versions: dict[str, str],
        measurements: Sequence[Measurement],
        about: dict[str, Any],
    ) -> None:
        self.scenarios = scenarios
        self.versions = versions
        self.measurements = measurements
        self.about = about
        self.peers = list(versions)

    def values(self, scenario: str, peer: str, key: str) -> list[float]:
        return [
            measurement.figures[key]
            for measurement in self.measurements
            if measurement.scenario == scenario and measurement.peer == peer and key in measurement.figures
        ]

    def median(self, scenario: str, peer: str, key: str) -> float | None:
        values = self.values(scenario, peer, key)
        return statistics.median(values) if values else None

    def other_cores(self, scenario: str) -> tuple[float, float] | None:
        """Median and most of the cores that were busy with neither server nor load."""
        values = [value for peer in self.peers for value in self.values(scenario, peer, "other_cores")]
        return (statistics.median(values), max(values)) if values else None

    # -- goals

    def verdicts(self) -> list[Verdict]:
        found = []
        for scenario in self.scenarios:
            for figure in scenario.figures:
                verdict = self._verdict(scenario, figure) if figure.goal else None
                if verdict is not None:
                    found.append(verdict)
        return found

    def _verdict(self, scenario: Scenario, figure: Figure) -> Verdict | None:
        sign, number, *against = figure.goal.split()
        ours = self.median(scenario.key, "kgw", figure.key)
        if ours is None:
            return None
        other = ""
        if against:
            rivals = {
                peer: value
                for peer in self.peers
                if peer != "kgw" and (value := self.median(scenario.key, peer, figure.key)) is not None
            }
            if against[0] == "best" and rivals:
                other = (max if figure.more_is_better else min)(rivals, key=lambda peer: rivals[peer])
            elif against[0] in rivals:
                other = against[0]
            if not other or not rivals[other]:
                return None
            ours /= rivals[other]
        met = ours >= float(number) if sign == ">=" else ours <= float(number)
        return Verdict(scenario.title, figure.unit, figure.goal, ours, other, met)

    # -- the forms

    def table(self) -> str:
        """A Markdown table: a line a row, a column a peer; figures as in the scenario's list."""
        lines = [
            [
                "scenario",
                *(
                    f"{peer} {self.versions[peer].partition(' (')[0].partition(',')[0]}"
                    for peer in self.peers
                ),
                "others' cores",
            ]
        ]
        for scenario in self.scenarios:
            units = ", ".join(figure.unit for figure in scenario.figures)
            line = [f"{scenario.title}: {units}"]
            line += [self._cell(scenario, peer) for peer in self.peers]
            busy = self.other_cores(scenario.key)
            line.append(f"{busy[0]:.2f} (most {busy[1]:.2f})" if busy else "")
            if any(line[1:-1]):
                lines.append(line)
        return _markdown(lines)

    def _cell(self, scenario: Scenario, peer: str) -> str:
        cells = []
        for figure in scenario.figures:
            value = self.median(scenario.key, peer, figure.key)
            if value is not None:
                cells.append(f"{value:,.{figure.digits}f}")
        failed = sum(
            bool(measurement.error)
            for measurement in self.measurements
            if measurement.scenario == scenario.key and measurement.peer == peer
        )
        return ", ".join(cells) + (f" ({failed} failed)" if failed else "")

    def goals(self) -> str:
        lines = [["goal", "wanted", "is", ""]]
        lines += [
            [
                f"{verdict.scenario}: {verdict.figure}",
                verdict.goal,
                f"{verdict.value:.2f}" + (f" x {verdict.against}" if verdict.against else ""),
                "met" if verdict.met else "MISSED",
            ]
            for verdict in self.verdicts()
        ]
        return _markdown(lines)

    def text(self) -> str:
        versions = "; ".join(f"{peer}: {version}" for peer, version in self.versions.items())
        about = "; ".join(f"{name}: {value}" for name, value in self.about.items())
        return f"{versions}\n{about}\n\n{self.table()}\n\n{self.goals()}\n"

    def write(self, folder: Path) -> None:
        """``results.json``, ``table.md`` and a plot a figure (SVG)."""
        folder.mkdir(parents=True, exist_ok=True)
        medians = {
            scenario.key: {
                peer: {
                    key: statistics.median(self.values(scenario.key, peer, key))
                    for key in self._keys(scenario.key, peer)
                }
                for peer in self.peers
            }
            for scenario in self.scenarios
        }
        whole = {
            "about": self.about,
            "versions": self.versions,
            "medians": medians,
            "goals": [asdict(verdict) for verdict in self.verdicts()],
            "measurements": [asdict(measurement) for measurement in self.measurements],
        }
        (folder / "results.json").write_text(json.dumps(whole, indent=1) + "\n")
        (folder / "table.md").write_text(self.text())
        for key in PLOTTED:
            groups = []
            unit = ""
            for scenario in self.scenarios:
                figure = next((figure for figure in scenario.figures if figure.key == key), None)
                if figure is None:
                    continue
                unit = figure.unit
                spread = {
                    peer: values for peer in self.peers if (values := self.values(scenario.key, peer, key))
                }
                if spread:
                    groups.append((scenario.title, spread))
            if groups:
                (folder / f"{key}.svg").write_text(bars(unit, groups, self.peers))

    def _keys(self, scenario: str, peer: str) -> Iterable[str]:
        keys: dict[str, None] = {}
        for measurement in self.measurements:
            if measurement.scenario == scenario and measurement.peer == peer:
                keys |= dict.fromkeys(measurement.figures)
        return keys


def _markdown(lines: list[list[str]]) -> str:
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    shown = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)) + " |"
        for line in lines
    ]
    shown.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(shown)
