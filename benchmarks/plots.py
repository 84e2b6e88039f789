"""Bar charts as SVG, without a library: a group a scenario, a bar a peer, a line from least to most."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from html import escape

COLOURS = ("#2f6f9f", "#6aa84f", "#b45f06", "#7d6ba0", "#999999")
WIDTH, LABELS, BAR, GAP, TOP = 860, 300, 16, 14, 64
RIGHT = 90


def bars(unit: str, groups: Sequence[tuple[str, Mapping[str, Sequence[float]]]], peers: Sequence[str]) -> str:
    """A chart of medians; ``groups``: (title, peer -> its values)."""
    most = max(max(values) for _, by_peer in groups for values in by_peer.values()) or 1.0
    scale = (WIDTH - LABELS - RIGHT) / most
    height = TOP + sum(len(by_peer) * BAR + GAP for _, by_peer in groups)
    out = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
        f'viewBox="0 0 {WIDTH} {height}" font-family="sans-serif" font-size="12">',
        f'<rect width="{WIDTH}" height="{height}" fill="#ffffff"/>',
        f'<text x="10" y="22" font-size="15">{escape(unit)}: median, and least to most</text>',
    ]
    for index, peer in enumerate(peers):
        x = 10 + index * 110
        out.append(f'<rect x="{x}" y="34" width="12" height="12" fill="{_colour(index)}"/>')
        out.append(f'<text x="{x + 17}" y="44">{escape(peer)}</text>')
    y = TOP
    for title, by_peer in groups:
        middle = y + len(by_peer) * BAR / 2 + 4
        out.append(f'<text x="{LABELS - 8}" y="{middle:.0f}" text-anchor="end">{escape(title)}</text>')
        for index, peer in enumerate(peers):
            if peer not in by_peer:
                continue
            values = by_peer[peer]
            value = statistics.median(values)
            at, width = y + BAR / 2, value * scale
            size = f'width="{width:.1f}" height="{BAR - 3}"'
            out.append(f'<rect x="{LABELS}" y="{y + 1}" {size} fill="{_colour(index)}"/>')
            low, high = LABELS + min(values) * scale, LABELS + max(values) * scale
            out.append(f'<line x1="{low:.1f}" x2="{high:.1f}" y1="{at}" y2="{at}" stroke="#000000"/>')
            out.append(f'<text x="{max(LABELS + width, high) + 5:.1f}" y="{at + 4}">{_number(value)}</text>')
            y += BAR
        y += GAP
    return "\n".join([*out, "</svg>", ""])


def _colour(index: int) -> str:
    return COLOURS[index % len(COLOURS)]


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
