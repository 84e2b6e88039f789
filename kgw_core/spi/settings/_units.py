"""Parses and formats sizes and durations."""

from __future__ import annotations

import re

KiB, MiB, GiB = 1 << 10, 1 << 20, 1 << 30
SIZES = {"": 1, "b": 1, "kb": 10**3, "mb": 10**6, "gb": 10**9, "tb": 10**12}
SIZES |= {"kib": KiB, "mib": MiB, "gib": GiB, "tib": 1 << 40}
SECONDS = {"us": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(text: str) -> int:
    """Bytes of ``"64 KiB"``, ``"1.5MB"``, ``"1024"``. :raises ValueError: no size, or no whole bytes."""
    match = re.fullmatch(r"\s*(\d+)(?:\.(\d+))?\s*([a-zA-Z]*)\s*", text, re.ASCII)
    if match is None or match[3].lower() not in SIZES:
        raise ValueError(text)
    digits, fraction = match[1] + (match[2] or ""), len(match[2] or "")
    scale: int = 10**fraction
    size, rest = divmod(int(digits) * SIZES[match[3].lower()], scale)
    if rest:
        raise ValueError(text)
    return size


def parse_duration(text: str) -> float:
    """Seconds of ``"500ms"``, ``"1h30m"``, ``"2.5"``. :raises ValueError: no duration."""
    text = text.strip()
    if re.fullmatch(r"\d+(\.\d+)?", text, re.ASCII):
        return float(text)
    parts = re.findall(r"(\d+(?:\.\d+)?)\s*(us|ms|s|min|m|h|d)\s*", text, re.ASCII)
    if not parts or not re.fullmatch(r"(\d+(\.\d+)?\s*(us|ms|s|min|m|h|d)\s*)+", text, re.ASCII):
        raise ValueError(text)
    return sum(float(number) * SECONDS[unit] for number, unit in parts)


def format_size(size: int) -> str:
    """``"100 MiB"``: the largest binary unit that divides ``size``."""
    for unit in ("TiB", "GiB", "MiB", "KiB"):
        if size and size % SIZES[unit.lower()] == 0:
            return f"{size // SIZES[unit.lower()]} {unit}"
    return f"{size} B"


def format_duration(seconds: float) -> str:
    """``"10m"``, ``"1.5s"``, ``"20ms"``."""
    if seconds and seconds < 1:
        return f"{seconds * 1000:g}ms"
    for unit in ("d", "h", "m"):
        if seconds and seconds % SECONDS[unit] == 0:
            return f"{seconds / SECONDS[unit]:g}{unit}"
    return f"{seconds:g}s"
