"""Many groups on one broker: members that do no more than join, and beat. For :mod:`benchmarks.groups`."""

from __future__ import annotations

import resource
import time

import anyio

from benchmarks import procfs
from benchmarks.peers.base import Server
from kgw_core.client import Client
from kgw_core.client.connection import Connection, connect
from kgw_core.errors import IllegalGeneration, MemberIdRequired, RebalanceInProgress
from kgw_core.wire import encode
from kgw_core.wire.messages.consumer_protocol_subscription import ConsumerProtocolSubscription
from kgw_core.wire.messages.heartbeat import HeartbeatRequest
from kgw_core.wire.messages.join_group import JoinGroupRequest, JoinGroupRequestProtocol
from kgw_core.wire.messages.sync_group import SyncGroupRequest, SyncGroupRequestAssignment

SIZE = 3
INTERVAL = 3.0
"""Seconds between a member's heartbeats, as clients have it by default."""

MEASURED = 15.0
AT_ONCE = 50
"""Groups that come at the same time, so that the driver does not hold them up past their sessions."""

METADATA = b"\x00\x01" + encode(ConsumerProtocolSubscription(["orders"], None), 1)
ASSIGNED = b"\x00\x01" + b"\x00\x00\x00\x01\x00\x06orders\x00\x00\x00\x01\x00\x00\x00\x00" + b"\xff" * 4


class Member:
    """One member on a connection of its own."""

    def __init__(self, group: str, connection: Connection) -> None:
        self.group = group
        self.connection = connection
        self.id = ""
        self.generation = -1

    async def join(self) -> None:
        """Be in a generation with an assignment."""
        while True:
            protocols = [JoinGroupRequestProtocol("range", METADATA)]
            request = JoinGroupRequest(self.group, 45_000, 300_000, self.id, None, "consumer", protocols)
            answer = await self.connection.request(request, 7)
            self.id = answer.member_id
            if answer.error_code == MemberIdRequired.code:
                continue
            if not answer.error_code:
                self.generation = answer.generation_id
                assignments = [SyncGroupRequestAssignment(one.member_id, ASSIGNED) for one in answer.members]
                sync = SyncGroupRequest(
                    self.group, self.generation, self.id, None, "consumer", "range", assignments
                )
                if not (await self.connection.request(sync, 5)).error_code:
                    return

    async def beat(self) -> bool:
        """Whether the member may stay as it is."""
        request = HeartbeatRequest(self.group, self.generation, self.id)
        code = (await self.connection.request(request, 4)).error_code
        if code in (RebalanceInProgress.code, IllegalGeneration.code):
            return False
        assert not code, code
        return True


async def _form(members: list[Member]) -> None:
    """Bring a group's members into one generation."""
    async with anyio.create_task_group() as tasks:
        for member in members:
            tasks.start_soon(member.join)
    while True:
        late = [member for member in members if not await member.beat()]
        if not late:
            return
        async with anyio.create_task_group() as tasks:
            for member in late:
                tasks.start_soon(member.join)


async def _load(server: Server, name: str, count: int) -> None:
    host, port = server.address
    async with Client(server.bootstrap) as client:
        await client.coordinators(["group-0"])
    begun = procfs.memory(server.pid).rss
    members: list[list[Member]] = [[] for _ in range(count)]
    limit = anyio.Semaphore(AT_ONCE)

    async def enter(number: int) -> None:
        async with limit:
            for _ in range(SIZE):
                connection = await connect(host, port, client_id="bench", seconds=60)
                members[number].append(Member(f"group-{number}", connection))

    async def form(number: int) -> None:
        async with limit:
            await _form(members[number])

    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(enter, number)
    connected = procfs.memory(server.pid).rss
    begin, cpu = time.perf_counter(), procfs.cpu_seconds(server.pid)
    async with anyio.create_task_group() as tasks:
        for number in range(count):
            tasks.start_soon(form, number)
    took, cpu = time.perf_counter() - begin, procfs.cpu_seconds(server.pid) - cpu
    formed = procfs.memory(server.pid).rss
    every = [member for group in members for member in group]
    beats = 0
    over = time.perf_counter() + MEASURED

    async def keep_beating(member: Member, delay: float) -> None:
        nonlocal beats
        await anyio.sleep(delay)
        while time.perf_counter() < over:
            assert await member.beat()
            beats += 1
            await anyio.sleep(INTERVAL)

    begin, busy = time.perf_counter(), procfs.cpu_seconds(server.pid)
    async with anyio.create_task_group() as tasks:
        for index, member in enumerate(every):
            tasks.start_soon(keep_beating, member, INTERVAL * index / len(every))
    seconds, busy = time.perf_counter() - begin, procfs.cpu_seconds(server.pid) - busy
    print(
        f"{name}: {count} groups of {SIZE} formed in {took:.1f} s ({cpu / count * 1000:.2f} ms CPU a group);"
        f" {beats / seconds:.0f} heartbeats a second take {busy / seconds * 100:.1f} % of a CPU"
        f" ({busy / beats * 1e6:.0f} us each); memory: {(connected - begun) / len(every) / 1024:.1f} KiB a"
        f" connection, {(formed - connected) / len(every) / 1024:.1f} KiB a member more"
    )
    for member in every:
        await member.connection.close()


def load(server: Server, name: str, groups: int) -> None:
    """Print what ``groups`` groups cost the server."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(most, groups * SIZE + 1_000), most))
    anyio.run(_load, server, name, groups)
