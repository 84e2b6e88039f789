"""Members of groups in other languages: a program runs several of them, and tells what each has and gets.

A member has the same face as those of ``tests/integration/group_members.py``, so that the tests of groups mix
them as they like.
"""

from __future__ import annotations

import json
import signal
import subprocess
import threading
from collections import defaultdict
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import IO, Any

from group_checks import Record
from group_members import wait_until
from toolchains import Program

Owner = tuple[int, int]
"""Generation and partition."""


class ProgramMember:
    """One member. ``assigned``: its partitions now. ``seen``: each record that it got, in order.

    ``owned``: for each generation that it knows of and each partition, the records it got as its owner.
    """

    def __init__(self, host: Host, name: str) -> None:
        self.host, self.name = host, name
        self.assigned: frozenset[int] = frozenset()
        self.seen: list[Record] = []
        self.owned: dict[Owner, list[Record]] = defaultdict(list)
        self.failure: BaseException | None = None
        self.stopped = False
        self._asked = False

    def ask_to_stop(self) -> None:
        """Have it leave the group, soon."""
        if not self._asked and not self.host.dead:
            self._asked = True
            self.host.order({"stop": self.name})

    def stop(self) -> None:
        """Leave the group."""
        self.ask_to_stop()
        if not self.host.dead:
            wait_until(lambda: self.stopped, f"{self.name} of {self.host.kind} leaves", 30)
        if self.failure is not None:
            raise self.failure

    def told(self, line: dict[str, Any]) -> None:
        """What the program says of it."""
        generation = line.get("generation", -1)
        if "assigned" in line:
            self.assigned = frozenset(line["assigned"])
            if generation >= 0:
                for partition in self.assigned:
                    self.owned[generation, partition]  # has it, whether or not a record comes
        for partition, offset in line.get("seen", ()):
            self.seen.append((partition, offset))
            if generation >= 0:
                self.owned[generation, partition].append((partition, offset))
        if "stopped" in line:
            self.stopped, self.assigned = True, frozenset()
            if "error" in line:
                self.failure = AssertionError(f"{self.name} of {self.host.kind}: {line['error']}")


class Host:
    """A program that runs members until its standard input ends, or until it is killed."""

    def __init__(self, program: Program, bootstrap: str) -> None:
        self.kind = program.client.name
        self.members: dict[str, ProgramMember] = {}
        self.dead = False
        self.process = subprocess.Popen(
            [*program.command, bootstrap, "members", "-"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip
        self.said: list[str] = []
        self._readers = [
            threading.Thread(target=self._read, args=(self.process.stdout, self._told)),
            threading.Thread(target=self._read, args=(self.process.stderr, self.said.append)),
        ]
        for reader in self._readers:
            reader.start()

    def start(
        self, group: str, topic: str, strategy: str, *, session: int = 6_000, heartbeat: int = 200
    ) -> ProgramMember:
        """One more member. ``session``, ``heartbeat``: in ms."""
        member = ProgramMember(self, f"m{len(self.members)}")
        self.members[member.name] = member
        self.order(
            {
                "start": member.name, "group": group, "topic": topic, "strategy": strategy,
                "session": session, "heartbeat": heartbeat,
            }
        )  # fmt: skip
        return member

    def order(self, line: dict[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(line) + "\n")

    def kill(self) -> None:
        """As ``kill -9`` does."""
        self.dead = True
        self.process.kill()
        self.process.wait(10)

    def pause(self) -> None:
        """The whole process stands still."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def close(self) -> None:
        """:raises AssertionError: the program does not end, or not well."""
        for pipe in (self.process.stdin,):
            assert pipe is not None
            pipe.close()
        try:
            status = self.process.wait(30)
        finally:
            self.process.kill()
            self.process.wait()
            for reader in self._readers:
                reader.join(10)
            for pipe in (self.process.stdout, self.process.stderr):
                assert pipe is not None
                pipe.close()
        assert self.dead or status == 0, "\n".join([f"{self.kind} ended with {status}", *self.said[-40:]])

    def _told(self, text: str) -> None:
        if text.startswith("{"):
            line = json.loads(text)
            if "member" in line:
                self.members[line["member"]].told(line)
                return
        self.said.append(text)

    @staticmethod
    def _read(stream: IO[str], line: Any) -> None:
        for text in stream:
            line(text)


@contextmanager
def hosting(program: Program, bootstrap: str) -> Iterator[Host]:
    """A program with members; leaving has them leave."""
    host = Host(program, bootstrap)
    try:
        yield host
    except BaseException as error:
        host.dead = True
        host.process.kill()
        error.add_note(f"the last of {host.kind}'s output:\n{''.join(host.said[-20:])}")
        raise
    finally:
        host.close()


def check_owners(members: Iterable[ProgramMember]) -> int:
    """No partition had two owners in one generation; how many (generation, partition) there were.

    :raises AssertionError: one had.
    """
    owners: dict[Owner, str] = {}
    for member in members:
        name = f"{member.name} of {member.host.kind} {member.host.process.pid}"
        for owner in member.owned:
            other = owners.setdefault(owner, name)
            assert other == name, f"partition {owner[1]} in generation {owner[0]}: {other} and {name}"
    return len(owners)
