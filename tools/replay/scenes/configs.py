"""DescribeConfigs, AlterConfigs, IncrementalAlterConfigs, ListConfigResources."""

from __future__ import annotations

from typing import Any

from tools.replay.scene import Scene, scene

TOPIC, BROKER, LOGGER, METRICS, GROUP = 2, 4, 8, 16, 32
KEYS = ["retention.ms", "cleanup.policy", "max.message.bytes"]


@scene
def describe_configs(s: Scene) -> None:
    one = s.topic("one", configs={"retention.ms": "77"})

    def ask(
        label: str, *resources: tuple[int, str, list[str] | None], versions: Any = None, **more: Any
    ) -> None:
        entries = [
            {"resourceType": kind, "resourceName": name, "configurationKeys": keys}
            for kind, name, keys in resources
        ]
        s.ask(label, "DescribeConfigs", {"resources": entries} | more, versions)

    some = (1, 3, 4)
    ask("some", (TOPIC, one, KEYS))
    ask("some with synonyms", (TOPIC, one, KEYS[1:]), versions=some, includeSynonyms=True)
    ask("all", (TOPIC, one, None), versions=some)
    ask("no keys", (TOPIC, one, []), versions=some)
    ask("a key twice", (TOPIC, one, ["retention.ms", "retention.ms"]), versions=some)
    ask("unknown key", (TOPIC, one, ["nope", "retention.ms", ""]), versions=some)
    ask("a topic twice", (TOPIC, one, KEYS), (TOPIC, one, ["retention.ms"]), versions=some)
    ask("not there", (TOPIC, s.named("nope"), KEYS), versions=some)
    ask("not there, twice", (TOPIC, s.named("nope"), KEYS), (TOPIC, s.named("nope"), KEYS), versions=some)
    ask("bad name", (TOPIC, "a b", KEYS), versions=some)
    ask("empty name", (TOPIC, "", KEYS), versions=some)
    ask("one right, one not", (TOPIC, one, KEYS), (TOPIC, s.named("nope"), KEYS), versions=some)
    ask("nothing")
    for kind in (0, 1, 3, 9, -1, 127):
        ask(f"type {kind}", (kind, one, KEYS), versions=some)
    for name in ("7", "x", "-1", "01"):
        ask(f"broker {name}", (BROKER, name, ["node.id"]), versions=some)
    ask("broker", (BROKER, "1", ["node.id", "num.io.threads_not"]), versions=some)
    ask("a logger that is not there", (LOGGER, "7", ["x"]), versions=some)
    ask("metrics that are not there", (METRICS, s.named("m"), None), versions=some)
    ask("metrics without a name", (METRICS, "", None), versions=some)
    ask("group without a name", (GROUP, "", None), versions=some)


def _resource(kind: int, name: str, *configs: tuple[Any, ...]) -> dict[str, Any]:
    entries: list[dict[str, Any]] = []
    for config in configs:
        entries.append({"name": config[0], "value": config[1]})
        if len(config) > 2:
            entries[-1]["configOperation"] = config[2]
    return {"resourceType": kind, "resourceName": name, "configs": entries}


@scene
def alter_configs(s: Scene) -> None:
    one = s.topic("one", configs={"retention.ms": "77"})

    def ask(label: str, *resources: dict[str, Any], versions: Any = (0, 1, 2), check: bool = True) -> None:
        s.ask(label, "AlterConfigs", {"resources": list(resources), "validateOnly": check}, versions)

    ask("right", _resource(TOPIC, one, ("retention.ms", "5")))
    ask("nothing of one", _resource(TOPIC, one))
    ask("nothing")
    ask("null", _resource(TOPIC, one, ("retention.ms", None)))
    ask("empty", _resource(TOPIC, one, ("retention.ms", "")))
    ask("bad value", _resource(TOPIC, one, ("retention.ms", "soon")))
    ask("unknown", _resource(TOPIC, one, ("nope", "1")))
    ask("empty name", _resource(TOPIC, one, ("", "1")))
    ask("twice", _resource(TOPIC, one, ("retention.ms", "5"), ("retention.ms", "6")))
    ask("twice, the first one bad", _resource(TOPIC, one, ("retention.ms", "soon"), ("retention.ms", "6")))
    ask(
        "a topic twice",
        _resource(TOPIC, one, ("retention.ms", "5")),
        _resource(TOPIC, one, ("retention.ms", "6")),
    )
    ask("not there", _resource(TOPIC, s.named("nope"), ("retention.ms", "5")))
    ask("bad topic", _resource(TOPIC, "a b", ("retention.ms", "5")))
    ask("empty topic", _resource(TOPIC, "", ("retention.ms", "5")))
    ask("one right, one not", _resource(TOPIC, one, ("retention.ms", "5")), _resource(TOPIC, s.named("nope")))
    for kind in (0, 1, 3, 9, -1, 127):
        ask(f"type {kind}", _resource(kind, one, ("retention.ms", "5")))
    ask("broker 7", _resource(BROKER, "7", ("log.cleaner.threads", "1")))
    ask("broker x", _resource(BROKER, "x", ("log.cleaner.threads", "1")))
    ask("logger", _resource(LOGGER, "1", ("root", "INFO")))
    ask("set", _resource(TOPIC, one, ("retention.ms", "88")), versions=2, check=False)
    asked = {"resources": [{"resourceType": TOPIC, "resourceName": one, "configurationKeys": KEYS}]}
    s.ask("what is set", "DescribeConfigs", asked, 4)
    ask("replaced", _resource(TOPIC, one, ("max.message.bytes", "5000")), versions=0, check=False)
    s.ask("what is set then", "DescribeConfigs", asked, 4)
    ask("all taken away", _resource(TOPIC, one), versions=2, check=False)
    s.ask("what is set at last", "DescribeConfigs", asked, 4)


@scene
def incremental_alter_configs(s: Scene) -> None:
    one = s.topic("one", configs={"cleanup.policy": "compact"})
    set_, delete, append, subtract = range(4)

    def ask(label: str, *resources: dict[str, Any], versions: Any = (0, 1), check: bool = True) -> None:
        request = {"resources": list(resources), "validateOnly": check}
        s.ask(label, "IncrementalAlterConfigs", request, versions)

    def of(*configs: tuple[Any, ...]) -> dict[str, Any]:
        return _resource(TOPIC, one, *configs)

    ask("set", of(("retention.ms", "5", set_)))
    ask("set null", of(("retention.ms", None, set_)))
    ask("set empty", of(("retention.ms", "", set_)))
    ask("set bad", of(("retention.ms", "soon", set_)))
    ask("delete", of(("retention.ms", None, delete)))
    ask("delete with a value", of(("retention.ms", "5", delete)))
    ask("delete unknown", of(("nope", None, delete)))
    ask("set unknown", of(("nope", "1", set_)))
    ask("append", of(("cleanup.policy", "delete", append)))
    ask("append what is there", of(("cleanup.policy", "compact", append)))
    ask("append two", of(("cleanup.policy", "delete,compact", append)))
    ask("append nothing", of(("cleanup.policy", "", append)))
    ask("append null", of(("cleanup.policy", None, append)))
    ask("append bad", of(("cleanup.policy", "nope", append)))
    ask("append to what is no list", of(("retention.ms", "5", append)))
    ask("subtract", of(("cleanup.policy", "compact", subtract)))
    ask("subtract what is not there", of(("cleanup.policy", "delete", subtract)))
    ask("subtract from what is no list", of(("retention.ms", "5", subtract)))
    ask("a config twice", of(("retention.ms", "5", set_), ("retention.ms", "6", set_)))
    ask("set and delete", of(("retention.ms", "5", set_), ("retention.ms", None, delete)))
    ask("nothing of one", of())
    ask("nothing")
    ask("a topic twice", of(("retention.ms", "5", set_)), of(("retention.bytes", "5", set_)))
    ask("not there", _resource(TOPIC, s.named("nope"), ("retention.ms", "5", set_)))
    ask("bad topic", _resource(TOPIC, "a b", ("retention.ms", "5", set_)))
    for kind in (0, 1, 3, 9, -1, 127):
        ask(f"type {kind}", _resource(kind, one, ("retention.ms", "5", set_)))
    ask("broker 7", _resource(BROKER, "7", ("log.cleaner.threads", "1", set_)))
    ask("broker x", _resource(BROKER, "x", ("log.cleaner.threads", "1", set_)))


@scene
def list_config_resources(s: Scene) -> None:
    s.topic("one")
    for kinds in (
        [TOPIC],
        [BROKER],
        [LOGGER],
        [METRICS],
        [GROUP],
        [0],
        [1],
        [9],
        [-1],
        [TOPIC, TOPIC],
        [TOPIC, 9],
    ):
        request = {"resourceTypes": kinds}
        s.ask(
            f"types {kinds}", "ListConfigResources", request, 1, mine=kinds != [BROKER] and kinds != [LOGGER]
        )
    s.ask("v0", "ListConfigResources", {}, 0)
