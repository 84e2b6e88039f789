"""A process that appends to a store until it is killed, and its parent, which keeps count.

Run as a module, this is the child: it takes from standard input where the store's factory is and writes
"partition end" after each append that returned.
"""

from __future__ import annotations

import base64
import os
import pickle
import subprocess
import sys
import threading
import time
from functools import partial
from importlib import import_module, util
from pathlib import Path
from typing import Any
from uuid import UUID

import anyio
from anyio.lowlevel import checkpoint

from kgw_core.spi.storage import Append, Batch, LogStore, TopicPartition
from kgw_core.testing.batches import make_batch

PARTITIONS = 3
SPANS = (1, 4, 2)
GROUP_SPAN = sum(SPANS)
"""Every append is a group of batches with these spans: an end that is not a multiple of it is torn."""
APPENDS = 45
"""How many acknowledged appends the child is killed after."""
DELAYS = (0.0, 0.003, 0.013)
"""How many seconds after the last of them, one kill each."""
SECONDS = 30.0
"""How long it may take for that."""


def group(partition: int, base: int) -> list[Batch]:
    """The batches of the append at ``base``; the same in parent and child."""
    batches = []
    for span in SPANS:
        batches.append(make_batch(base, span, size=600, tag=f"p{partition}"))
        base += span
    return batches


def append_until_killed(make: partial[LogStore], topic_id: UUID, delay: float) -> dict[int, int]:
    """Kill a child while it appends, ``delay`` seconds after an acknowledged append: at once, it
    would hardly have begun the next. Returns for each partition the end of the last acknowledged append."""
    child = subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert child.stdin and child.stdout and child.stderr
    impatient = threading.Timer(SECONDS, child.kill)
    impatient.start()
    try:
        child.stdin.write(_describe(make, topic_id) + b"\n")
        child.stdin.flush()
        told = [line for _ in range(APPENDS) if (line := child.stdout.readline())]
        time.sleep(delay)
        child.kill()
        told += child.stdout.read().splitlines(keepends=True)
        problem = child.stderr.read().decode()
    finally:
        impatient.cancel()
        child.kill()
        child.wait()
        for pipe in (child.stdin, child.stdout, child.stderr):
            pipe.close()
    assert len(told) >= APPENDS, f"the process that appends stopped early:\n{problem}"
    ends: dict[int, int] = {}
    for line in told:
        if line.endswith(b"\n"):
            partition, end = line.split()
            ends[int(partition)] = int(end)
    return ends


def _describe(make: partial[LogStore], topic_id: UUID) -> bytes:
    """Where ``make`` is to be found, for another process."""
    function = make.func if isinstance(make, partial) else make
    name = getattr(function, "__qualname__", "<>")
    assert "<" not in name, (
        f"the fixture `reopen` gives {make!r}: for kill -9 it must be functools.partial of a function "
        "or class at the top level of a module, so that another process can import it"
    )
    module = sys.modules.get(function.__module__)
    assert module and module.__file__, (
        f"{name} is in {function.__module__}, which another process cannot import"
    )
    arguments = (make.args, make.keywords) if isinstance(make, partial) else ((), {})
    place = (module.__name__, module.__file__, name)
    return base64.b64encode(pickle.dumps((place, pickle.dumps(arguments), topic_id)))


def _load(module: str, path: str, name: str) -> Any:
    """The factory: imported by its module's name, or else from the file."""
    try:
        found = import_module(module)
        if not os.path.samefile(found.__file__ or "", path):
            raise ImportError(f"{module} is another file")
    except (ImportError, OSError):
        sys.path.insert(0, str(Path(path).parent))
        spec = util.spec_from_file_location(module, path)
        assert spec and spec.loader
        found = util.module_from_spec(spec)
        sys.modules[module] = found
        spec.loader.exec_module(found)
    for part in name.split("."):
        found = getattr(found, part)
    return found


async def _append_for_ever(store: LogStore, topic_id: UUID) -> None:
    await store.open()
    tps = [TopicPartition("killed", topic_id, partition) for partition in range(PARTITIONS)]
    ends = {tp: (await store.bounds(tp)).end for tp in tps}

    def acknowledge(*returned: TopicPartition) -> None:
        for tp in returned:
            ends[tp] += GROUP_SPAN
        os.write(1, b"".join(b"%d %d\n" % (tp.partition, ends[tp]) for tp in returned))

    async def alone(tp: TopicPartition) -> None:
        while True:
            await store.append(tp, group(tp.partition, ends[tp]))
            acknowledge(tp)
            await checkpoint()

    async def together(pair: list[TopicPartition]) -> None:
        while True:
            results = await store.append_many([Append(tp, group(tp.partition, ends[tp])) for tp in pair])
            firsts = [bases if isinstance(bases, Exception) else bases[0] for bases in results]
            assert firsts == [ends[tp] for tp in pair], results
            acknowledge(*pair)
            await checkpoint()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(alone, tps[0])
        tasks.start_soon(together, tps[1:])


def main() -> None:
    """The child."""
    place, arguments, topic_id = pickle.loads(base64.b64decode(sys.stdin.readline()))
    make = _load(*place)
    args, keywords = pickle.loads(arguments)
    anyio.run(_append_for_ever, make(*args, **keywords), topic_id)


if __name__ == "__main__":
    main()
