"""The addresses of listeners, and those that clients get: by name, by address, by a port forward."""

from __future__ import annotations

import asyncio
import logging
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kgw_storage_memory.store import MemoryStore
from python_clients import CLIENTS, Client, Rec
from raw import FETCH, METADATA, PRODUCE, RawClient, fetch, fetched, metadata, produce, produced

from kgw_core.config import Config, Listener
from kgw_core.gateway import StartError
from kgw_core.server.sockets import bind, release
from kgw_core.spi.storage import LogStore
from kgw_core.testing.faults import FaultyStore
from kgw_core.testing.gateway import GatewayThread, free_config, gateway_process, gateway_thread

Address = tuple[str, int]


def listening(*listeners: Listener) -> Config:
    return msgspec.structs.replace(free_config("t"), listeners=listeners)


def brokers(address: Address) -> list[Address]:
    with RawClient(address) as raw:
        return [(broker.host, broker.port) for broker in raw.ask(metadata(), METADATA).brokers]


def has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True


needs_ipv6 = pytest.mark.skipif(not has_ipv6(), reason="this machine has no ::1")


# -- what is told


def test_clients_are_told_the_address_they_dialled() -> None:
    with gateway_thread() as gateway:
        assert brokers(gateway.address) == [gateway.address]


def test_clients_are_told_what_is_advertised() -> None:
    listeners = (
        Listener(name="PLAIN", port=0),
        Listener(name="HOST", port=0, advertise="kafka.example"),
        Listener(name="BOTH", port=0, advertise="kafka.example:19092"),
        Listener(name="SIX", port=0, advertise="[2001:db8::7]:19093"),
    )
    with gateway_thread(listening(*listeners)) as gateway:
        plain, host, both, six = gateway.addresses
        assert brokers(plain) == [plain]
        assert brokers(host) == [("kafka.example", host[1])]
        assert brokers(both) == [("kafka.example", 19092)]
        assert brokers(six) == [("2001:db8::7", 19093)]


@needs_ipv6
@pytest.mark.parametrize("uvloop", [False, True])
def test_all_addresses_are_both_families_on_one_port_and_each_client_is_told_its_own(uvloop: bool) -> None:
    with gateway_thread(listening(Listener(host="::", port=0)), uvloop=uvloop) as gateway:
        (bound,) = gateway.addresses
        assert bound[0] == "::"
        for host in ("127.0.0.1", "127.0.0.2", "::1"):
            assert brokers((host, bound[1])) == [(host, bound[1])]


def test_a_name_is_every_address_it_stands_for_on_one_port() -> None:
    with gateway_thread(listening(Listener(host="localhost", port=0))) as gateway:
        assert len({port for _, port in gateway.addresses}) == 1
        expected = {place[0] for *_, place in socket.getaddrinfo("localhost", 0, type=socket.SOCK_STREAM)}
        assert {host for host, _ in gateway.addresses} == expected - (set() if has_ipv6() else {"::1"})
        for address in gateway.addresses:
            assert brokers(address) == [address]


def test_listeners_share_the_topics() -> None:
    listeners = (Listener(name="ONE", port=0), Listener(name="TWO", host="127.0.0.2", port=0))
    with gateway_thread(listening(*listeners)) as gateway:
        one, two = gateway.addresses
        with RawClient(one) as raw:
            assert produced(raw.ask(produce("t", b"v"), PRODUCE)) == (0, 0)
        with RawClient(two) as raw:
            assert b"v" in fetched(raw.ask(fetch("t"), FETCH))[1]


# -- real clients


def goes_through(client: Client, topic: str) -> None:
    """Produce and consume; the client goes to where Metadata sends it."""
    client.produce(topic, [Rec(b"one"), Rec(b"two")])
    assert [got.value for got in client.consume(topic, {0: 0}, 2)] == [b"one", b"two"]


@pytest.fixture(scope="module")
def everywhere() -> Iterator[GatewayThread]:
    """A gateway on all addresses of this machine, IPv6 where there is some."""
    topics = [f"{kind.name}-{how}" for kind in CLIENTS for how in ("name", "ipv4", "ipv6")]
    host = "::" if has_ipv6() else "0.0.0.0"
    config = msgspec.structs.replace(free_config(*topics), listeners=(Listener(host=host, port=0),))
    with gateway_thread(config) as gateway:
        yield gateway


DIALLED = [("name", "localhost"), ("ipv4", "127.0.0.1"), pytest.param("ipv6", "[::1]", marks=needs_ipv6)]


@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.name)
@pytest.mark.parametrize(("how", "host"), DIALLED, ids=["name", "ipv4", "ipv6"])
def test_a_client_works_however_it_dials(
    everywhere: GatewayThread, kind: type[Client], how: str, host: str
) -> None:
    port = everywhere.address[1]
    goes_through(kind(f"{host}:{port}"), f"{kind.name}-{how}")


class Forward:
    """A port that forwards connections, as a container's does. ``count``: connections so far."""

    def __init__(self) -> None:
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listening.getsockname()[1]
        self.target: Address = ("", 0)
        self.count = 0
        self._open: list[socket.socket] = [self._listening]

    def run(self) -> None:
        while True:
            try:
                near, _ = self._listening.accept()
            except OSError:
                return
            self.count += 1
            far = socket.create_connection(self.target)
            self._open += [near, far]
            for source, sink in ((near, far), (far, near)):
                threading.Thread(target=self._pass_on, args=(source, sink), daemon=True).start()

    @staticmethod
    def _pass_on(source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(65536):
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            pass

    def close(self) -> None:
        for sock in self._open:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()


@contextmanager
def forwarding() -> Iterator[Forward]:
    forward = Forward()
    thread = threading.Thread(target=forward.run, daemon=True)
    thread.start()
    try:
        yield forward
    finally:
        forward.close()
        thread.join(10)


@pytest.mark.parametrize("kind", CLIENTS, ids=lambda kind: kind.name)
def test_a_client_behind_a_port_forward_stays_behind_it(kind: type[Client]) -> None:
    with forwarding() as forward:
        listener = Listener(port=0, advertise=f"127.0.0.1:{forward.port}")
        with gateway_thread(listening(listener)) as gateway:
            forward.target = gateway.address
            goes_through(kind(f"127.0.0.1:{forward.port}"), "t")
            ports = {
                connection.client.advertised
                for connection in gateway.call(lambda: list(gateway.gateway.server.connections))
            }
            assert ports <= {("127.0.0.1", forward.port)}
            assert forward.count >= 2, "the bootstrap connection, and those that Metadata led to"


def test_without_advertise_a_client_behind_a_port_forward_is_led_past_it() -> None:
    """Why there is the setting."""
    with forwarding() as forward, gateway_thread(listening(Listener(port=0))) as gateway:
        forward.target = gateway.address
        assert brokers(("127.0.0.1", forward.port)) == [gateway.address]


# -- Unix sockets


@pytest.mark.parametrize("uvloop", [False, True])
def test_a_unix_socket_serves_beside_a_port(socket_directory: Path, uvloop: bool) -> None:
    path = socket_directory / "kgw.sock"
    listeners = (Listener(name="TCP", port=0), Listener(name="UNIX", host=f"unix:{path}"))
    with gateway_thread(listening(*listeners), uvloop=uvloop) as gateway:
        tcp, unix = gateway.addresses
        assert unix == (f"unix:{path}", 0)
        assert brokers(unix) == [unix]
        with RawClient(unix) as raw:
            assert produced(raw.ask(produce("t", b"by path"), PRODUCE)) == (0, 0)
        with RawClient(tcp) as raw:
            assert b"by path" in fetched(raw.ask(fetch("t"), FETCH))[1]
    assert not path.exists()


def test_the_command_serves_a_unix_socket(tmp_path: Path, socket_directory: Path) -> None:
    path = socket_directory / "kgw.sock"
    config = f'[[listeners]]\nhost = "unix:{path}"\nadvertise = "kafka.example:9092"\n'
    with gateway_process(tmp_path, config=config) as gateway:
        assert f"listener PLAINTEXT on unix:{path}, clients are told kafka.example:9092" in gateway.log
        assert brokers(gateway.address) == [("kafka.example", 9092)]


def test_the_socket_of_a_gateway_that_was_killed_is_replaced_and_one_in_use_is_not(
    socket_directory: Path,
) -> None:
    path = socket_directory / "kgw.sock"
    with socket.socket(socket.AF_UNIX) as left_over:
        left_over.bind(str(path))
    config = listening(Listener(host=f"unix:{path}"))
    with gateway_thread(config) as gateway:
        (told,) = refusal(config)
        assert told == f"listener PLAINTEXT: cannot listen on unix:{path}: Address already in use"
        assert brokers(gateway.address)


def test_a_unix_socket_of_a_gateway_that_is_starting_is_no_left_over(socket_directory: Path) -> None:
    """Bound, and not served before the store is open: a second start neither takes it over nor removes it."""
    path = socket_directory / "kgw"
    listener = Listener(host=f"unix:{path}")
    first = asyncio.run(bind(listener))
    try:
        (told,) = refusal(listening(listener))
        assert told == f"listener PLAINTEXT: cannot listen on unix:{path}: Address already in use"
        assert path.is_socket()
    finally:
        release(listener, first)
    assert not path.exists()


@pytest.mark.parametrize("uvloop", [False, True])
def test_of_two_gateways_that_start_at_once_on_one_port_one_is_refused(uvloop: bool) -> None:
    """Both can bind it; the other listens while this one opens its store."""
    (other,) = asyncio.run(bind(Listener(port=0)))

    class Opening(MemoryStore):
        async def open(self, context: Any = None) -> None:
            other.listen()
            await super().open(context)

    with other:
        port = other.getsockname()[1]
        (told,) = refusal(listening(Listener(port=port)), Opening(), uvloop=uvloop)
        why = "Address already in use; port 0 takes any free port"
        assert told == f"listener PLAINTEXT: cannot listen on 127.0.0.1:{port}: {why}"


def test_a_file_that_is_no_socket_is_left_alone(socket_directory: Path) -> None:
    path = socket_directory / "precious.txt"
    path.write_text("precious")
    (told,) = refusal(listening(Listener(host=f"unix:{path}")))
    assert told == f"listener PLAINTEXT: cannot listen on unix:{path}: there is a file that is no socket"
    assert path.read_text() == "precious"


# -- what cannot be


def refusal(config: Config, store: LogStore | None = None, *, uvloop: bool = False) -> list[str]:
    """Why a gateway does not start."""
    with (
        pytest.raises((StartError, ExceptionGroup)) as caught,
        gateway_thread(config, store=store, uvloop=uvloop),
    ):
        pass
    return [str(error) for error in leaves(caught.value) if isinstance(error, StartError)]


def leaves(error: BaseException) -> list[BaseException]:
    if isinstance(error, BaseExceptionGroup):
        return [leaf for each in error.exceptions for leaf in leaves(each)]
    return [error]


@pytest.mark.parametrize(
    ("host", "why"),
    [("192.0.2.1", "Cannot assign requested address"), ("no-such-host.invalid", "")],
)
def test_an_address_that_is_not_ours_is_told_once(host: str, why: str) -> None:
    (told,) = refusal(listening(Listener(host=host, port=9)))
    assert told.startswith(f"listener PLAINTEXT: cannot listen on {host}:9: ")
    assert why in told
    assert told.count(host) == 1


def test_the_second_of_two_listeners_that_cannot_be_closes_the_first(socket_directory: Path) -> None:
    path = socket_directory / "kgw.sock"
    listeners = Listener(name="A", host=f"unix:{path}"), Listener(name="B", host="192.0.2.1", port=9)
    (told,) = refusal(listening(*listeners))
    assert told.startswith("listener B: ")
    assert not path.exists()


class Unreadable(FaultyStore):
    """A store that opens, and then cannot say which topics it has."""

    async def topics(self) -> Any:
        raise OSError("the disk is gone")


def test_topics_that_cannot_be_read_at_start_are_one_clear_message(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        (told,) = refusal(free_config(), Unreadable(MemoryStore()))
    assert told.endswith("topics cannot be read: the disk is gone")
    assert caplog.records == []
