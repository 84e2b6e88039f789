"""From the shell prompt to the first ApiVersions answer of ``kgw dev``, in seconds; the median of ten.

Run it as ``.venv/bin/python -m benchmarks.startup``. The first start compiles the modules and is not counted.
"""

from __future__ import annotations

import os
import socket
import statistics
import struct
import subprocess
import sys
import time
from pathlib import Path

from kgw_core.wire import encode, message

KGW = str(Path(sys.executable).with_name("kgw"))


def once() -> float:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    header = message("RequestHeader")(request_api_key=18, request_api_version=0, client_id="start")
    body = encode(header, 1) + encode(message("ApiVersionsRequest")(), 0)
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    start = time.perf_counter()
    process = subprocess.Popen(
        [KGW, "dev", "--port", str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=environment,
    )
    try:
        while True:
            try:
                with socket.create_connection(("127.0.0.1", port)) as sock:
                    sock.sendall(struct.pack(">i", len(body)) + body)
                    assert sock.recv(4)
                    return time.perf_counter() - start
            except OSError:
                assert process.poll() is None and time.perf_counter() - start < 30
                time.sleep(0.002)
    finally:
        process.terminate()
        process.wait()


def main() -> None:
    once()
    times = [once() for _ in range(10)]
    print(f"median {statistics.median(times):.3f} s, least {min(times):.3f} s, most {max(times):.3f} s")


if __name__ == "__main__":
    main()
