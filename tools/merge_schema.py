"""The union of two Kafka releases' message definitions.

The newer release wins for every version that both define; the older fills in the versions, fields and
messages that the newer has dropped. Wherever the two disagree about a version that both define, a line is
reported.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from tools.kafka_schema import FieldDef, MessageDef


class Union:
    """The merged messages (`messages`, by name) and what the releases disagree about (`disagreements`)."""

    def __init__(self, newer: dict[str, MessageDef], older: dict[str, MessageDef]) -> None:
        self.disagreements: list[str] = []
        self.renames: list[tuple[str, str, str]] = []
        """(struct, older name, newer name)"""
        self.messages: dict[str, MessageDef] = {}
        for name in sorted({*newer, *older}):
            new, old = newer.get(name), older.get(name)
            if new is None or not new.versions:
                assert old is not None
                self.messages[name] = old
            elif old is None or not old.versions:
                self.messages[name] = new
            else:
                self.messages[name] = self._message(new, old)
        keys = {m.api_key: m.name for m in newer.values() if m.kind == "request"}
        self.superseded: set[str] = set()
        """Requests whose API has another name in the newer release."""
        for message in self.messages.values():
            _check_contiguous(message)
            name = message.name
            if message.kind == "request" and name not in newer and message.api_key in keys:
                self.superseded.add(name)
                was = f"was {name} in the older"
                self.disagreements.append(f"API {message.api_key}: {keys[message.api_key]} {was}")

    def _message(self, new: MessageDef, old: MessageDef) -> MessageDef:
        both = new.versions & old.versions
        filled = old.versions - new.versions
        for attribute in ("api_key", "kind"):
            if getattr(new, attribute) != getattr(old, attribute):
                self._say(new.name, attribute, getattr(new, attribute), getattr(old, attribute))
        if new.flexible & both != old.flexible & both:
            self._say(new.name, "flexible versions", new.flexible & both, old.flexible & both)
        if max(new.versions) == max(old.versions) and new.latest_unstable != old.latest_unstable:
            self._say(new.name, "latest version unstable", new.latest_unstable, old.latest_unstable)
        merged = replace(
            new,
            versions=new.versions | old.versions,
            flexible=new.flexible | (old.flexible & filled),
            structs={},
        )
        for name in _in_order(list(new.structs), list(old.structs)):
            merged.structs[name] = self._struct(
                new.name, name, new.structs.get(name, []), old.structs.get(name, []), both, filled
            )
        for name, fields in merged.structs.items():
            for version in sorted(merged.versions):
                source = new if version in new.versions else old
                names = {o: n for struct, o, n in self.renames if struct == f"{new.name}/{name}"}
                want = [
                    f.name if source is new else names.get(f.name, f.name)
                    for f in source.structs.get(name, [])
                    if version in f.versions
                ]
                got = [f.name for f in fields if version in f.versions]
                assert want == got, (new.name, name, version, want, got)
        return merged

    def _struct(
        self,
        message: str,
        struct: str,
        new: list[FieldDef],
        old: list[FieldDef],
        both: set[int],
        filled: set[int],
    ) -> list[FieldDef]:
        where = message if struct == message else f"{message}.{struct}"
        old = self._rename(f"{message}/{struct}", where, new, old, both)
        new_by_name = {f.name: f for f in new}
        old_by_name = {f.name: f for f in old}
        merged = []
        for name in _in_order([f.name for f in new], [f.name for f in old]):
            n, o = new_by_name.get(name), old_by_name.get(name)
            if n is None or o is None:
                only = n or o
                assert only is not None
                if only.versions & both:
                    here = "newer only" if o is None else "older only: left out"
                    self.disagreements.append(
                        f"{where}.{name}: versions {_spell(only.versions & both)} have it in the {here}"
                    )
                keep = only.versions if o is None else only.versions & filled
                if keep:
                    merged.append(
                        replace(only, versions=keep, nullable=only.nullable & keep, tagged=only.tagged & keep)
                    )
                continue
            self._compare(where, n, o, both)
            merged.append(
                replace(
                    n,
                    versions=n.versions | (o.versions & filled),
                    nullable=n.nullable | (o.nullable & filled),
                    tagged=n.tagged | (o.tagged & filled),
                )
            )
        return merged

    def _rename(
        self, key: str, where: str, new: list[FieldDef], old: list[FieldDef], both: set[int]
    ) -> list[FieldDef]:
        """`old` with its fields under their newest names: same place, same type, in a version both define."""
        names: dict[str, str] = {}
        for version in sorted(both):
            new_here = [f for f in new if version in f.versions]
            old_here = [f for f in old if version in f.versions]
            if len(new_here) != len(old_here):
                continue
            for n, o in zip(new_here, old_here, strict=True):
                if n.name != o.name and n.type == o.type:
                    names[o.name] = n.name
        for before, after in names.items():
            self.renames.append((key, before, after))
            self.disagreements.append(
                f"{where}.{after}: called {before} in the older; the newer name is kept"
            )
        return [replace(f, name=names.get(f.name, f.name)) for f in old]

    def _compare(self, where: str, new: FieldDef, old: FieldDef, both: set[int]) -> None:
        name = f"{where}.{new.name}"
        if new.type != old.type:
            raise ValueError(f"{name}: {new.type} in one release, {old.type} in the other: decide by hand")
        for attribute in ("default", "ignorable", "entity_type", "map_key", "tag", "never_flexible"):
            if getattr(new, attribute) != getattr(old, attribute):
                self._say(name, attribute, getattr(new, attribute), getattr(old, attribute))
        for attribute in ("versions", "nullable", "tagged"):
            if getattr(new, attribute) & both != getattr(old, attribute) & both:
                self._say(name, attribute, getattr(new, attribute) & both, getattr(old, attribute) & both)

    def _say(self, where: str, what: str, new: object, old: object) -> None:
        self.disagreements.append(f"{where}: {what} is {new!r} in the newer, {old!r} in the older")


def _in_order(new: list[str], old: list[str]) -> list[str]:
    """The names of both lists in the new one's order; what only the old one has follows its neighbour."""
    merged = list(new)
    place = 0
    for name in old:
        if name in merged:
            place = merged.index(name) + 1
        else:
            merged.insert(place, name)
            place += 1
    return merged


def _spell(versions: Iterable[int]) -> str:
    found = sorted(versions)
    return f"{found[0]}-{found[-1]}" if len(found) > 1 else f"{found[0]}"


def _check_contiguous(message: MessageDef) -> None:
    def check(what: str, versions: set[int]) -> None:
        if versions and len(versions) != max(versions) - min(versions) + 1:
            raise ValueError(f"{message.name}: {what} has a gap in its versions: {sorted(versions)}")

    check("the message", message.versions)
    for struct, fields in message.structs.items():
        for f in fields:
            check(f"{struct}.{f.name}", f.versions)
            check(f"{struct}.{f.name} (nullable)", f.nullable)
            check(f"{struct}.{f.name} (tagged)", f.tagged)
