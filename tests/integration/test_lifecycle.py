"""From start to end: the command's output, files and exit status, and requests at the end."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from raw import API_VERSIONS, FETCH, METADATA, PRODUCE, RawClient, fetch, fetched, metadata, produce, produced

from kgw_core.testing.gateway import gateway_process, gateway_thread
from kgw_core.wire.messages.api_versions import ApiVersionsRequest

KGW = [sys.executable, "-c", "from kgw_core.cli import main; main(prog_name='kgw')"]
TWO_LISTENERS = """
[[listeners]]
name = "INSIDE"
port = 0

[[listeners]]
name = "OUTSIDE"
port = 0
advertise = "kafka.example:19092"
"""


def kgw(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*KGW, *arguments], capture_output=True, text=True, timeout=20, check=False)


# -- the start


def test_dev_says_where_it_listens_and_what_clients_are_told(tmp_path: Path) -> None:
    with gateway_process(tmp_path, "--topic", "orders:3", "--topic", "users") as gateway:
        place = gateway.bootstrap
        assert re.fullmatch(r"127\.0\.0\.1:\d+", place)
        assert gateway.ready_file.read_text() == f"{place}\n"
        gateway.wait_for_log(f"^kgw ready: {re.escape(place)}$")
        assert f"listener PLAINTEXT on {place}, clients are told the address they dial\n" in gateway.log
        assert "topics that clients ask for are created\n" in gateway.log
        with RawClient(gateway.address) as raw:
            topics = raw.ask(metadata("orders", "users"), METADATA).topics
            assert [len(topic.partitions) for topic in topics] == [3, 1]
    assert not gateway.ready_file.exists(), "who waits for the next start must not find the old one's"


def test_serve_says_so_of_each_listener(tmp_path: Path) -> None:
    with gateway_process(tmp_path, config=TWO_LISTENERS) as gateway:
        inside, outside = gateway.bootstrap.split(",")
        assert gateway.ready_file.read_text() == f"{inside}\n{outside}\n"
        gateway.wait_for_log(f"^kgw ready: {re.escape(inside)}, {re.escape(outside)}$")
        assert f"listener INSIDE on {inside}, clients are told the address they dial\n" in gateway.log
        assert f"listener OUTSIDE on {outside}, clients are told kafka.example:19092\n" in gateway.log
        assert "topics that clients ask for are not created\n" in gateway.log


def test_dev_tells_clients_what_it_is_told_to_advertise(tmp_path: Path) -> None:
    with (
        gateway_process(tmp_path, "--advertise", "broker.example:4711") as gateway,
        RawClient(gateway.address) as raw,
    ):
        (broker,) = raw.ask(metadata(), METADATA).brokers
        assert (broker.host, broker.port) == ("broker.example", 4711)


def test_the_environment_sets_what_the_command_line_does_not(tmp_path: Path) -> None:
    with (
        gateway_process(tmp_path, env={"KGW_NODE_ID": "7", "KGW_TOPICS__AUTO_CREATE": "false"}) as gateway,
        RawClient(gateway.address) as raw,
    ):
        answer = raw.ask(metadata("nowhere"), METADATA)
        assert [broker.node_id for broker in answer.brokers] == [7]
        assert [topic.error_code for topic in answer.topics] == [3]


# -- what keeps it from starting


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        ("[limits]\nmax_conections = 4\n", 'unknown key; did you mean "max_connections"'),
        ("[limits]\nidle_timeout = 'soon'\n", "idle_timeout"),
        ("[[listeners]]\nport = 70000\n", "port"),
        ("[[listeners]\n", "is not TOML"),
        ("[storage]\nuse = 'memry'\n", 'did you mean "memory"'),
        ("[[listeners]]\nport = 0\n[[topics.create]]\nname = 'not valid'\n", "not valid"),
        ("[[listeners]]\nport = 0\n[[topics.create]]\nname = 'a'\nconfigs = {'no.such' = 1}\n", "no.such"),
    ],
)
def test_a_wrong_config_is_one_clear_message(tmp_path: Path, config: str, expected: str) -> None:
    path = tmp_path / "kgw.toml"
    path.write_text(config)
    ended = kgw("serve", "--config", str(path))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr.startswith(f"Error: {path}: ")
    assert expected in ended.stderr
    assert "Traceback" not in ended.stderr
    assert len(ended.stderr.splitlines()) == 1


def test_a_config_that_is_not_there_is_one_clear_message(tmp_path: Path) -> None:
    ended = kgw("serve", "--config", str(tmp_path / "nowhere.toml"))
    assert ended.returncode == 1
    assert ended.stderr == f"Error: {tmp_path / 'nowhere.toml'}: cannot be read: No such file or directory\n"


def test_a_port_in_use_is_one_clear_message(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        ended = kgw("dev", "--port", str(port), "--ready-file", str(tmp_path / "ready"))
    assert ended.returncode == 1
    assert ended.stdout == ""
    assert ended.stderr == (
        f"Error: listener PLAINTEXT: cannot listen on 127.0.0.1:{port}: Address already in use; "
        "port 0 takes any free port\n"
    )
    assert not (tmp_path / "ready").exists()


def test_a_start_that_fails_leaves_nothing_behind(tmp_path: Path, socket_directory: Path) -> None:
    """All addresses that cannot be had are told, and the storage is not even made."""
    config = tmp_path / "kgw.toml"
    with socket.socket() as taken, socket.socket() as other:
        ports = []
        for sock in (taken, other):
            sock.bind(("127.0.0.1", 0))
            sock.listen()
            ports.append(sock.getsockname()[1])
        config.write_text(
            '[storage]\nuse = "sqlite"\npath = "deep/down/kgw.db"\n'
            f'[[listeners]]\nname = "U"\nhost = "unix:{socket_directory}/s"\n'
            + "".join(f'[[listeners]]\nname = "L{port}"\nport = {port}\n' for port in ports)
        )
        ended = kgw("serve", "--config", str(config), "--ready-file", str(tmp_path / "ready"))
    assert ended.returncode == 1
    assert [re.findall(r"listener L(\d+): cannot listen", line) for line in ended.stderr.splitlines()] == [
        [str(port)] for port in ports
    ]
    assert {path.name for directory in (tmp_path, socket_directory) for path in directory.iterdir()} == {
        "kgw.toml"
    }


@pytest.mark.parametrize(
    "arguments",
    [
        ["--topic", "a:none"], ["--topic", "a:0"], ["--topic", "a b"], ["--topic", ""],
        ["--topic", "a:1", "--topic", "a:2"], ["--port", "70000"], ["--port", "x"], ["--host", "a:1"],
        ["--advertise", "a b"], ["--advertise", "h:99999"],
    ],
)  # fmt: skip
def test_what_is_wrong_on_the_command_line_is_told_with_its_option(arguments: list[str]) -> None:
    ended = kgw("dev", "--port", "0", *arguments)
    assert ended.returncode == 2
    assert ended.stdout == ""
    usage, _, message = ended.stderr.partition("\nError: ")
    assert usage.startswith("Usage: kgw dev ")
    assert arguments[0] in message
    assert len(message.splitlines()) == 1


# -- the end


def refused(address: tuple[str, int]) -> bool:
    try:
        RawClient(address).socket.close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "sigint"])
def test_a_signal_drains(tmp_path: Path, number: signal.Signals) -> None:
    """Long polls are answered at once, and so is what waits behind them; new connections find nobody. The
    exit code and the log are checked by `gateway_process`."""
    with (
        gateway_process(tmp_path, "--topic", "a") as gateway,
        RawClient(gateway.address) as polling,
        RawClient(gateway.address) as producing,
        RawClient(gateway.address) as idle,
    ):
        idle.ask(ApiVersionsRequest("raw", "1"), API_VERSIONS)
        polling.send(fetch("a", wait_ms=14_000), FETCH)
        frames = [producing.prepare(fetch("a", wait_ms=14_000), FETCH)]
        frames += [producing.prepare(produce("a", b"x" * 100), PRODUCE) for _ in range(50)]
        producing.write(b"".join(frames))
        assert polling.silent(0.1)
        assert producing.silent(0.1)
        began = time.monotonic()
        gateway.process.send_signal(number)
        assert fetched(polling.receive()[1])[0] == 0
        assert fetched(producing.receive()[1]) == (0, b"")
        assert [produced(producing.receive()[1]) for _ in range(50)] == [(0, n) for n in range(50)]
        assert polling.closed()
        assert producing.closed()
        assert idle.closed()
        assert gateway.wait(10) == 0
        assert time.monotonic() - began < 5, "nothing was left to wait for"
        assert refused(gateway.address)
        gateway.wait_for_log(f"{number.name}: answering what was asked, then stopping")


@pytest.mark.parametrize("first", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "sigint"])
@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=["sigterm", "sigint"])
def test_a_second_signal_stops_at_once_and_in_order(
    tmp_path: Path, first: signal.Signals, second: signal.Signals
) -> None:
    """The client reads nothing, so the first signal alone would take as long as a drain may take."""
    config = "[[listeners]]\nport = 0\n[limits]\ndrain_timeout = '1h'\n[topics]\nauto_create = true\n"
    with (
        gateway_process(tmp_path, config=config) as gateway,
        RawClient(gateway.address, receive_buffer=4_096) as raw,
    ):
        raw.ask(metadata("a"), METADATA)
        raw.ask(produce("a", b"x" * 900_000), PRODUCE)
        for _ in range(20):
            raw.send(fetch("a"), FETCH)
        raw.socket.recv(1)
        gateway.process.send_signal(first)
        gateway.wait_for_log(f"{first.name}: answering what was asked, then stopping")
        gateway.process.send_signal(second)
        assert gateway.wait(20) == 0
        gateway.wait_for_log(f"{second.name} again: stopping at once")
        assert not gateway.ready_file.exists()


def test_a_client_that_does_not_read_cannot_keep_it_from_ending(tmp_path: Path) -> None:
    config = "[[listeners]]\nport = 0\n[limits]\ndrain_timeout = '300ms'\n[topics]\nauto_create = true\n"
    with (
        gateway_process(tmp_path, config=config) as gateway,
        RawClient(gateway.address, receive_buffer=4_096) as raw,
    ):
        raw.ask(metadata("a"), METADATA)
        raw.ask(produce("a", b"x" * 900_000), PRODUCE)
        for _ in range(20):
            raw.send(fetch("a"), FETCH)
        raw.socket.recv(1)
        gateway.terminate()
        assert gateway.wait(10) == 0
        assert "1 connections were not done within 0.3 s" in gateway.log


@pytest.mark.skipif(sys.platform == "win32", reason="there is no preexec_fn")
def test_closed_standard_streams_are_no_reason_to_stop(tmp_path: Path) -> None:
    """Sockets would get the numbers of the streams."""

    def close_all() -> None:
        for number in (0, 1, 2):
            os.close(number)

    ready = tmp_path / "ready"
    process = subprocess.Popen([*KGW, "dev", "--port", "0", "--ready-file", str(ready)], preexec_fn=close_all)
    try:
        deadline = time.monotonic() + 20
        while not ready.exists() and process.poll() is None:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        host, _, port = ready.read_text().strip().rpartition(":")
        with RawClient((host, int(port))) as raw:
            assert raw.ask(ApiVersionsRequest("raw", "1"), API_VERSIONS).error_code == 0
        process.terminate()
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()


def test_an_interrupt_before_it_is_ready_ends_it_silently() -> None:
    code = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # a script's background job has it ignored
import kgw_core.config
kgw_core.config.read_options = lambda **_: signal.raise_signal(signal.SIGINT)
from kgw_core.__main__ import main
sys.argv = ["kgw", "dev"]
main()
"""
    ended = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=20, check=False
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (130, "", "")


# -- in this process


def test_a_gateway_in_a_thread_serves_and_ends_with_its_block() -> None:
    with gateway_thread() as gateway, RawClient(gateway.address) as raw:
        assert raw.ask(ApiVersionsRequest("raw", "1"), API_VERSIONS).error_code == 0
        assert gateway.call(lambda: threading.current_thread()) is not threading.current_thread()
    assert refused(gateway.address)


def test_gateways_in_one_process_know_nothing_of_each_other() -> None:
    with gateway_thread() as one, gateway_thread() as other:
        with RawClient(one.address) as raw:
            raw.ask(metadata("only-here"), METADATA)
        with RawClient(other.address) as raw:
            answer = raw.ask(metadata(), METADATA)
            assert answer.brokers[0].port == other.address[1]
        assert one.gateway.broker.cluster_id != other.gateway.broker.cluster_id
        assert "only-here" not in other.call(lambda: list(other.gateway.broker.catalog.by_name))


def test_a_gateway_that_is_stopped_as_soon_as_it_is_ready_stops_well(tmp_path: Path) -> None:
    """The ready file is there only when signals are noticed."""
    for number in range(3):
        with gateway_process(tmp_path / str(number)):
            pass


def test_the_health_file_is_there_as_long_as_the_gateway(tmp_path: Path) -> None:
    health = tmp_path / "health.json"
    with gateway_process(tmp_path, "--health-file", str(health)) as gateway:
        told = json.loads(health.read_text())
        assert told == {"status": "ok", "process": gateway.process.pid, "failing": []}
    assert not health.exists()


def test_a_health_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    done = kgw("dev", "--port", "0", "--health-file", str(tmp_path / "nowhere" / "health"))
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        f"Error: --health-file {tmp_path}/nowhere/health cannot be written: No such file or directory\n"
    )


def test_a_ready_file_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    done = kgw("dev", "--port", "0", "--ready-file", str(tmp_path / "nowhere" / "ready"))
    assert done.returncode == 1
    assert "cannot be written: No such file or directory" in done.stderr
    assert "kgw ready" not in done.stdout
    assert "Traceback" not in done.stderr


def test_a_ready_file_that_is_a_directory_is_told_and_nothing_is_left(tmp_path: Path) -> None:
    done = kgw("dev", "--port", "0", "--ready-file", str(tmp_path))
    assert done.returncode == 1
    assert done.stderr == f"Error: --ready-file {tmp_path} cannot be written: Is a directory\n"
    assert list(tmp_path.parent.glob(f".{tmp_path.name}.*")) == []


def test_a_ready_file_of_somebody_else_stays_where_the_start_fails(tmp_path: Path) -> None:
    (tmp_path / "ready").write_text("127.0.0.1:1\n")
    assert kgw("dev", "--host", "192.0.2.1", "--ready-file", str(tmp_path / "ready")).returncode == 1
    assert (tmp_path / "ready").read_text() == "127.0.0.1:1\n"
