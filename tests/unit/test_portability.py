"""The core runs without uvloop, and without the modules that only Unix has."""

from __future__ import annotations

import subprocess
import sys

import pytest

WITHOUT = """
import sys
for name in ("uvloop", "resource", "fcntl", "pwd", "grp", "termios", "tty", "pty"):
    sys.modules[name] = None
import mmap, signal
for module, prefixes in ((mmap, ("MAP_", "PROT_", "MADV_")), (signal, ("SIGUSR", "SIGHUP"))):
    for name in dir(module):
        if name.startswith(prefixes):
            delattr(module, name)
"""

SERVED = """
import asyncio, socket, struct
from kgw_core.config import dev
from kgw_core.gateway import StartError, running
from kgw_core.wire.messages.api_versions import ApiVersionsRequest

async def main():
    del socket.AF_UNIX  # asyncio's own loop has used it for itself by now
    async with running(dev(port=0, env={})) as gateway:
        (address,) = gateway.addresses["PLAINTEXT"]
        reader, writer = await asyncio.open_connection(*address)
        writer.write(struct.pack(">ihhih", 10, 18, 0, 7, -1))
        assert struct.unpack(">i", (await reader.readexactly(8))[4:]) == (7,)
        writer.close()
    try:
        async with running(dev(host="unix:/nowhere/kgw.sock", env={})):
            raise AssertionError("served")
    except* StartError as group:
        assert "this system has no Unix sockets" in repr(group.exceptions), group

asyncio.run(main())
import kgw_core.cli.running, kgw_core.cli.serve, kgw_core.testing.gateway
assert not kgw_core.cli.running._has_uvloop()
print("served")
"""


@pytest.mark.skipif(sys.platform == "win32", reason="it plays a system without Unix on one that has it")
def test_the_core_serves_without_uvloop_and_without_what_only_unix_has() -> None:
    ended = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT + SERVED], capture_output=True, text=True, timeout=60
    )
    assert (ended.returncode, ended.stdout) == (0, "served\n"), ended.stderr[-2_000:]
