"""Counts with faust against a broker, twice, the second time with an empty table.

``main.py BOOTSTRAP counts`` runs itself once more for each life of the application.
"""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import subprocess
import sys
import tempfile


def emit(check: str, got: object, want: object) -> bool:
    ok = got == want
    print(json.dumps({"check": check, "ok": ok} | ({} if ok else {"got": got, "want": want})), flush=True)
    return ok


def live(bootstrap: str, name: str, records: int, want: int) -> None:
    """Write some records, and tell the table when it holds as many counts as wanted, or after 30 s."""
    import faust

    app = faust.App(
        name,
        broker=f"kafka://{bootstrap}",
        store="memory://",
        datadir=os.environ["FAUST_DATADIR"],
        topic_partitions=3,
        topic_replication_factor=1,
        web_enabled=False,
        broker_commit_interval=0.5,
        value_serializer="json",
    )
    words = app.topic(f"{name}-words", key_type=str, value_type=str)
    counts = app.Table("counts", default=int)

    @app.agent(words)
    async def count(stream):
        async for word in stream.group_by(lambda value: value, name="word", partitions=3):
            counts[word] += 1

    @app.task
    async def feed():
        for number in range(records):
            await words.send(key=str(number), value=f"w{number % 5}")
        for _ in range(300):
            if sum(counts.values()) >= want:
                break
            await asyncio.sleep(0.1)
        print(json.dumps(dict(counts)), flush=True)
        await app.stop()  # commits, and leaves the group
        os._exit(0)  # the worker around it would wait for a signal

    faust.Worker(app, loglevel="ERROR", redirect_stdouts=False, quiet=True).execute_from_commandline()


def run(bootstrap: str, name: str, records: int, want: int) -> dict[str, int]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-W", "ignore", __file__, bootstrap, "live", name, str(records), str(want)]
        environment = os.environ | {"FAUST_DATADIR": folder}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=90)
    told = [line[line.index("{") :] for line in done.stdout.splitlines() if "{" in line]
    if not told:
        raise SystemExit(f"{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    return json.loads(told[-1])


def main() -> int:
    bootstrap, scenario = sys.argv[1:3]
    if scenario == "live":
        live(bootstrap, sys.argv[3], int(sys.argv[4]), int(sys.argv[5]))
        return 0
    name = f"{scenario}-{secrets.token_hex(4)}"
    ok = emit("first run", run(bootstrap, name, 300, 300), {f"w{word}": 60 for word in range(5)})
    ok &= emit("after a restart", run(bootstrap, name, 100, 400), {f"w{word}": 80 for word in range(5)})
    ok &= emit("changelogs", asyncio.run(policies(bootstrap, name)), ["compact"])
    return 0 if ok else 1


async def policies(bootstrap: str, name: str) -> list[str]:
    from aiokafka.admin import AIOKafkaAdminClient
    from aiokafka.admin.config_resource import ConfigResource, ConfigResourceType

    admin = AIOKafkaAdminClient(bootstrap_servers=bootstrap)
    await admin.start()
    made = [one for one in await admin.list_topics() if one.startswith(name) and one.endswith("changelog")]
    resources = [ConfigResource(ConfigResourceType.TOPIC, one) for one in made]
    answers = await admin.describe_configs(resources)
    await admin.close()
    found = [entry for answer in answers for resource in answer.resources for entry in resource[4]]
    return [entry[1] for entry in found if entry[0] == "cleanup.policy"]


if __name__ == "__main__":
    sys.exit(main())
