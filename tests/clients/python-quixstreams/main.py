"""Counts with quixstreams against a broker, twice, the second time with an empty state directory.

``main.py BOOTSTRAP counts``
"""

from __future__ import annotations

import json
import secrets
import sys
import tempfile
from datetime import timedelta

from confluent_kafka.admin import AdminClient, ConfigResource, ResourceType
from quixstreams import Application

START = 1_700_000_040_000  # where a minute begins


def emit(check: str, got: object, want: object) -> bool:
    ok = got == want
    print(json.dumps({"check": check, "ok": ok} | ({} if ok else {"got": got, "want": want})), flush=True)
    return ok


class Run:
    """One life of the application: what it counted."""

    def __init__(self, bootstrap: str, group: str, state: str) -> None:
        self.app = Application(
            broker_address=bootstrap,
            consumer_group=group,
            auto_offset_reset="earliest",
            state_dir=state,
            commit_interval=0.3,
            loglevel="WARNING",
        )
        self.topic = self.app.topic(f"{group}-in", value_deserializer="json", key_deserializer="str")
        self.counts: list[int] = []
        self.windows: list[int] = []

    def write(self, first: int, end: int) -> None:
        with self.app.get_producer() as producer:
            for number in range(first, end):
                message = self.topic.serialize(key=f"k{number % 5}", value={"n": number})
                at = START + number * 1000
                producer.produce(self.topic.name, key=message.key, value=message.value, timestamp=at)

    def process(self) -> None:
        def counted(value: dict, state) -> dict:
            state.set("count", state.get("count", 0) + 1)
            return {"n": value["n"], "count": state.get("count")}

        frame = self.app.dataframe(self.topic)
        counting = frame.apply(counted, stateful=True)
        counting.update(lambda value: self.counts.append(value["count"]))
        grouped = frame.group_by(lambda value: str(value["n"] % 3), name="remainder")
        windows = grouped.tumbling_window(timedelta(seconds=60)).count().final()
        windows.update(lambda value: self.windows.append(value["value"]))
        self.app.run(timeout=10)  # ends when nothing has come for so long


def main() -> int:
    bootstrap, scenario = sys.argv[1:3]
    group = f"{scenario}-{secrets.token_hex(4)}"
    with tempfile.TemporaryDirectory() as one, tempfile.TemporaryDirectory() as other:
        first = Run(bootstrap, group, one)
        first.write(0, 300)
        first.process()
        # four minutes of five are over at the end, three keys, twenty records each a minute
        ok = emit("first run", [sorted(first.counts)[-5:], first.windows], [[60] * 5, [20] * 12])
        second = Run(bootstrap, group, other)
        second.write(300, 350)
        second.process()
        ok &= emit("after a restart", [sorted(second.counts)[-5:], second.windows], [[70] * 5, [20] * 3])
    admin = AdminClient({"bootstrap.servers": bootstrap})
    made = [name for name in admin.list_topics(timeout=10).topics if group in name and "changelog" in name]
    resources = [ConfigResource(ResourceType.TOPIC, name) for name in made]
    configs = [one.result() for one in admin.describe_configs(resources).values()]
    ok &= emit("changelogs", [one["cleanup.policy"].value for one in configs], ["compact"] * 2)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())
