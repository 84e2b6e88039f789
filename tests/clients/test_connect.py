"""Kafka Connect, distributed: workers in a group, their configs, offsets and states in compacted topics."""

from __future__ import annotations

import json
import re
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import toolchains
from toolchains import Program

from kgw_core.testing.gateway import GatewayProcess

CLIENT = toolchains.CONNECT

PROPERTIES = """\
bootstrap.servers={bootstrap}
group.id={name}
key.converter=org.apache.kafka.connect.storage.StringConverter
value.converter=org.apache.kafka.connect.storage.StringConverter
offset.storage.topic={name}-offsets
offset.storage.replication.factor=1
config.storage.topic={name}-configs
config.storage.replication.factor=1
status.storage.topic={name}-status
status.storage.replication.factor=1
offset.flush.interval.ms=500
scheduled.rebalance.max.delay.ms=0
listeners=http://127.0.0.1:0
plugin.discovery=only_scan
"""


class Worker:
    """A worker at work, asked over its REST interface."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self.log = log
        self.address = ""

    def said(self) -> str:
        return self.log.read_text(errors="replace")

    def ready(self) -> bool:
        """Whether it is in the group and has read its topics: then it answers."""
        assert self.process.poll() is None, self.said()[-5000:]
        found = re.search(r"REST server listening at http://127.0.0.1:(\d+)/", self.said())
        self.address = f"127.0.0.1:{found[1]}" if found else ""
        return bool(found) and self.ask("GET", "/connectors")[0] == 200

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        request = urllib.request.Request(
            f"http://{self.address}{path}",
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={"Content-Type": "application/json"},
        )
        try:
            with urllib.request.urlopen(request, timeout=60) as answer:
                text = answer.read()
                return answer.status, json.loads(text) if text else None
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()

    def do(self, method: str, path: str, body: object = None) -> Any:
        """What it answers, which may not be an error."""
        status, answer = self.ask(method, path, body)
        assert status < 300, f"{method} {path}: {status} {answer}\n{self.said()[-3000:]}"
        return answer

    def places(self, *connectors: str) -> set[str]:
        """The workers that run the connectors' tasks; none while one of them does not run."""
        tasks = [task for name in connectors for task in self._status(name).get("tasks", [])]
        if len(tasks) < len(connectors) or any(task["state"] != "RUNNING" for task in tasks):
            return set()
        return {task["worker_id"] for task in tasks}

    def state(self, connector: str) -> str:
        return str(self._status(connector).get("connector", {}).get("state"))

    def _status(self, connector: str) -> dict[str, Any]:
        status, answer = self.ask("GET", f"/connectors/{connector}/status")
        return answer if status == 200 else {}


def until(what: str, so: Callable[[], bool]) -> None:
    end = time.monotonic() + 60
    while not so():
        assert time.monotonic() < end, f"not within 60 s: {what}"
        time.sleep(0.1)


@contextmanager
def worker(program: Program, properties: Path, log: Path) -> Iterator[Worker]:
    with log.open("wb") as out:
        process = subprocess.Popen([*program.command, str(properties)], stdout=out, stderr=out)
    try:
        yield Worker(process, log)
    finally:
        process.terminate()
        try:
            process.wait(30)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def test_file_to_topic_to_file(program: Program, gateway: GatewayProcess, tmp_path: Path) -> None:
    """Lines through a topic; a second worker takes over; offsets are told, altered, reset."""
    name = f"connect-{secrets.token_hex(4)}"
    properties = tmp_path / "worker.properties"
    properties.write_text(PROPERTIES.format(bootstrap=gateway.bootstrap, name=name))
    source, sink = tmp_path / "in", tmp_path / "out"
    source.touch()
    sink.touch()
    file = "org.apache.kafka.connect.file.FileStream"

    def more(word: str) -> None:
        with source.open("a") as out:
            out.writelines(f"{word} {number}\n" for number in range(300))
        until(f"the lines with {word} are there", lambda: sink.read_text() == source.read_text())

    with worker(program, properties, tmp_path / "second.log") as second:
        with worker(program, properties, tmp_path / "first.log") as first:
            until("the first answers", first.ready)
            settings = {"connector.class": f"{file}SourceConnector", "file": str(source), "topic": name}
            first.do("PUT", "/connectors/reads/config", settings)
            settings = {"connector.class": f"{file}SinkConnector", "file": str(sink), "topics": name}
            first.do("PUT", "/connectors/writes/config", settings)
            more("first")
            until("the second answers", second.ready)
            until("both have a task", lambda: len(second.places("reads", "writes")) == 2)
            more("second")
        until("the second has both", lambda: second.places("reads", "writes") == {second.address})
        more("third")
        end = source.stat().st_size
        position = [{"partition": {"filename": str(source)}, "offset": {"position": end}}]
        at = {"kafka_topic": name, "kafka_partition": 0}
        until(
            "the source's offset is kept",
            lambda: second.do("GET", "/connectors/reads/offsets")["offsets"] == position,
        )
        second.do("PUT", "/connectors/writes/stop")
        until("it has stopped", lambda: second.state("writes") == "STOPPED")
        offsets = "/connectors/writes/offsets"
        assert second.do("GET", offsets)["offsets"] == [{"partition": at, "offset": {"kafka_offset": 900}}]
        second.do("DELETE", offsets)
        assert second.do("GET", offsets)["offsets"] == []
        second.do("PATCH", offsets, {"offsets": [{"partition": at, "offset": {"kafka_offset": 890}}]})
        second.do("PUT", "/connectors/writes/resume")
        last = "".join(f"third {number}\n" for number in range(290, 300))
        until("ten lines again", lambda: sink.read_text() == source.read_text() + last)
        for connector in ("reads", "writes"):
            second.do("DELETE", f"/connectors/{connector}")
        until("both are gone", lambda: second.do("GET", "/connectors") == [])
