"""What a scene is made of: requests in Kafka's JSON, with names in the place of what a broker makes up."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from kgw_core.api import registry
from kgw_core.records import build_batch
from kgw_core.wire import index, message
from kgw_core.wire.base import Struct
from kgw_core.wire.plan import has_version, struct_class

PREFIX = "replay"
"""All topics and groups of the scenes begin with it. Those that do are deleted when a replay is over."""
TIME = 1_700_000_000_000
"""The time of records that have none of their own, in ms since the epoch."""

_KEYS = {api.name: key for key, api in index.APIS.items()}
_SERVED = {api.name: api.versions for api in registry.load().values()}


@dataclass(slots=True)
class Step:
    """One request.

    ``label`` is None for a step that only sets something up and has to succeed; one without an ``api`` waits
    until all of the broker has seen what was asked for before. ``client`` is the number of the connection.
    ``bind`` gives values of the answer a name (path to name), which as ``"<name>"`` stands for the value in
    later requests and answers. ``waits`` is False where the answer is read by a later :meth:`Scene.receive`,
    which is a step without a request. ``ordered`` says that the order of lists counts; ``mine`` that entries
    with other names than the scene's are left out. ``fields`` are those at the top of the answer that are
    compared (none: all). ``patience`` is how long the answer may take, in seconds; None the usual.
    """

    label: str | None
    api: str = ""
    version: int = 0
    request: dict[str, Any] = field(default_factory=dict)
    client: int = 0
    bind: Mapping[str, str] = field(default_factory=dict)
    waits: bool = True
    receives: str | None = None
    ordered: bool = False
    mine: bool = False
    fields: tuple[str, ...] = ()
    patience: float | None = None


class Scene:
    """The steps of one scene, in order."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.steps: list[Step] = []
        self._labels: set[str] = set()

    def labelled(self) -> dict[str, Step]:
        """The steps whose answers are compared, by label."""
        return {step.label: step for step in self.steps if step.label is not None and not step.receives}

    # -- names

    def named(self, short: str) -> str:
        """The whole name of a topic or group of this scene."""
        return f"{PREFIX}-{self.name}-{short}"

    def id(self, topic: str) -> str:
        """What stands for the id of a topic that :meth:`topic` has made, by its whole name."""
        return f"<id of {topic}>"

    # -- setting up

    def topic(self, short: str, partitions: int = 1, configs: Mapping[str, str] | None = None) -> str:
        """Make a topic; return its whole name."""
        name = self.named(short)
        self.topics({name: partitions}, configs)
        return name

    def topics(self, partitions: Mapping[str, int], configs: Mapping[str, str] | None = None) -> None:
        """Make topics: whole name to partitions. Old records stay, unless ``configs`` say otherwise."""
        configs = {"retention.ms": "-1"} | dict(configs or {})
        entries = [
            {
                "name": name,
                "numPartitions": count,
                "replicationFactor": 1,
                "configs": [{"name": key, "value": text} for key, text in configs.items()],
            }
            for name, count in partitions.items()
        ]
        bind = {f"topics/{name}/topicId": f"id of {name}" for name in partitions}
        self.do("CreateTopics", {"topics": entries, "timeoutMs": 30_000}, 7, bind=bind)

    def produce(self, topic: str, *values: str, partition: int = 0, time: int = TIME) -> None:
        """Append one batch of these values."""
        self.do("Produce", produce_request((topic, partition, batch(*values, time=time))), 9)

    def do(self, api: str, request: Mapping[str, Any], version: int, **options: Any) -> None:
        """A request that has to succeed."""
        self.steps.append(Step(None, api, version, fitted(api, request, version), **options))

    # -- asking

    def ask(
        self,
        label: str,
        api: str,
        request: Mapping[str, Any],
        versions: int | Iterable[int] | None = None,
        **options: Any,
    ) -> None:
        """A request whose answer is compared, in each of ``versions`` (None: all that kgw serves).

        Fields that a version lacks are left out of the request, and those that are not given have their
        default. ``options`` are those of :class:`Step`.
        """
        for version in _listed(api, versions):
            told = f"{self.name}: {label}, {api} v{version}"
            if told in self._labels:
                raise ValueError(f"two steps are called '{told}'")
            self._labels.add(told)
            self.steps.append(Step(told, api, version, fitted(api, request, version), **options))

    def settle(self) -> None:
        """Wait until what was asked for so far is seen by all of the broker."""
        self.steps.append(Step(None))

    def receive(self, label: str, api: str, version: int) -> None:
        """The answer to the step of that label, api and version, which was asked with ``waits=False``."""
        told = f"{self.name}: {label}, {api} v{version}"
        self.steps.append(Step(told, api, version, receives=told))


def _listed(api: str, versions: int | Iterable[int] | None) -> Iterable[int]:
    if versions is None:
        first, last = _SERVED[api]
        return range(first, last + 1)
    return [versions] if isinstance(versions, int) else versions


Play = Callable[[Scene], None]
_PLAYS: dict[str, Play] = {}


def scene(play: Play) -> Play:
    """Of a function that writes a scene: its name, with dashes, is the scene's."""
    _PLAYS[play.__name__.replace("_", "-")] = play
    return play


def written(parts: Iterable[str] = ()) -> list[Scene]:
    """The scenes whose names contain one of ``parts`` (none: all)."""
    import_module("tools.replay.scenes")  # fills _PLAYS
    found = []
    wanted = tuple(parts)
    for name, play in _PLAYS.items():
        if not wanted or any(part in name for part in wanted):
            made = Scene(name)
            play(made)
            found.append(made)
    return found


# -- requests


def fitted(api: str, request: Mapping[str, Any], version: int) -> dict[str, Any]:
    """``request`` with the fields that ``version`` has: defaults where they are not given.

    :raises ValueError: a field is in no version.
    """
    return _fitted(message(index.APIS[_KEYS[api]].request), request, version)


def _fitted(cls: type[Struct], value: Mapping[str, Any], version: int) -> dict[str, Any]:
    unknown = set(value) - {field.name for field in cls.SCHEMA}
    if unknown:
        raise ValueError(f"{cls.__name__} has no {', '.join(sorted(unknown))}")
    found: dict[str, Any] = {}
    defaults = cls()
    for attr, each in zip(cls.__slots__, cls.SCHEMA, strict=True):
        if not has_version(each.versions, version):
            continue
        if each.name not in value:
            if not has_version(each.tagged, version):
                found[each.name] = _plain(getattr(defaults, attr), each.type)
            continue
        struct = struct_class(cls, each.type.removeprefix("[]"))
        given = value[each.name]
        if struct is None or given is None:
            found[each.name] = given
        elif each.type.startswith("[]"):
            found[each.name] = [_fitted(struct, item, version) for item in given]
        else:
            found[each.name] = _fitted(struct, given, version)
    return found


def _plain(default: Any, kind: str) -> Any:
    if kind == "uuid":
        return "A" * 22
    return "" if kind == "bytes" else default


def batch(*values: str, time: int = TIME, **options: Any) -> str:
    """A batch of records of these values, in base64; ``options`` are those of ``build_batch``."""
    return coded(build_batch([(None, value.encode(), time) for value in values], **options))


def coded(data: bytes | bytearray) -> str:
    """Bytes as they stand in JSON."""
    return b64encode(data).decode()


def produce_request(*parts: tuple[str, int, str | None], acks: int = -1) -> dict[str, Any]:
    """A Produce of (topic, partition, batch in base64), a topic's in a row under one topic."""
    topics: list[dict[str, Any]] = []
    for topic, index_, records in parts:
        if not topics or topics[-1]["name"] != topic:
            topics.append({"name": topic, "topicId": f"<id of {topic}>", "partitionData": []})
        topics[-1]["partitionData"].append({"index": index_, "records": records})
    return {"acks": acks, "timeoutMs": 10_000, "topicData": topics}
