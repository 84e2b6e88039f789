"""Runs a gateway in the foreground until SIGINT or SIGTERM, for ``kgw dev`` and ``kgw serve``."""

from __future__ import annotations

import gc
import logging
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path

import anyio
import click

from kgw_core.background import Background
from kgw_core.cli.failing import refused
from kgw_core.cli.garbage_collection import short_collections
from kgw_core.cli.open_files import with_room
from kgw_core.cli.status_file import StatusFile
from kgw_core.clock import SystemClock
from kgw_core.config import Config, Settings
from kgw_core.config_validation import Chosen, checked
from kgw_core.gateway import Gateway, StartError, StopError, format_address, running
from kgw_core.spi.settings import ConfigError
from kgw_core.workers import quick_switches


def run(
    read: Callable[[], Settings], *, ready_file: Path | None, health_file: Path | None, verbose: bool
) -> None:
    """Read the settings and run the gateway. If it cannot start, the process ends with status 1, or with 2 if
    a command-line option is wrong."""
    _open_standard_streams()
    if ready_file is not None and health_file is not None and ready_file.absolute() == health_file.absolute():
        raise click.UsageError(f"--ready-file and --health-file name the same file, {ready_file}")
    try:
        settings = read()
        _show_logs("debug" if verbose else settings.config.log.level)
        chosen = checked(settings)
    except ConfigError as error:
        raise refused(error) from None
    settings = settings._replace(config=with_room(settings.config))
    options = {"use_uvloop": True} if _has_uvloop() else {}
    problems: list[BaseException] = []
    interrupted = False
    try:
        ready = StatusFile("--ready-file", ready_file) if ready_file is not None else None
        health = StatusFile("--health-file", health_file) if health_file is not None else None
        anyio.run(_run, settings, chosen, ready, health, backend_options=options)
    except* (ConfigError, StartError, StopError) as group:
        problems = _leaves(
            group
        )  # raised below, as before 3.11.4 an exception that is raised here comes in a group
    except* KeyboardInterrupt:
        interrupted = True
    if problems:
        raise click.ClickException("\n".join(str(error) for error in problems))
    if interrupted:
        sys.exit(130)


async def _run(
    settings: Settings, chosen: Chosen, ready_file: StatusFile | None, health_file: StatusFile | None
) -> None:
    files = [file for file in (ready_file, health_file) if file is not None]
    for file in files:
        file.try_out()
    config, report = settings.config, settings.report
    try:
        with ExitStack() as receiving, short_collections(), quick_switches():
            async with anyio.create_task_group() as tasks:
                async with (
                    running(config, report=report, chosen=chosen, given=settings.given) as gateway,
                    _health_told(gateway, health_file),
                ):
                    gc.freeze()  # objects of the start live as long as the gateway
                    signals = _signals(receiving)
                    # A reader of the ready file may stop the gateway at once, so signals come first.
                    _introduce(config, gateway, ready_file)
                    await _asked_to_stop(signals)
                    tasks.start_soon(_asked_again, signals, gateway)
                tasks.cancel_scope.cancel()
    finally:
        for file in files:
            file.take_back()


@asynccontextmanager
async def _health_told(gateway: Gateway, file: StatusFile | None) -> AsyncIterator[None]:
    if file is None:
        yield
        return
    from kgw_core.cli.health_file import HealthFile

    health_file = HealthFile(file, gateway.health, Background(SystemClock(), health=gateway.health))
    health_file.follow()
    try:
        yield
    finally:
        await health_file.stop()


def _introduce(config: Config, gateway: Gateway, ready_file: StatusFile | None) -> None:
    if ready_file is not None:
        ready_file.write(gateway.bootstrap.replace(",", "\n") + "\n")
    lines = []
    for listener in config.listeners:
        for host, port in gateway.addresses[listener.name]:
            advertised = listener.advertise or "the address they dial"
            address = format_address(host, port)
            lines.append(f"listener {listener.name} on {address}, clients are told {advertised}")
    creating = "are" if config.topics.auto_create else "are not"
    lines.append(f"storage {config.storage.use}, topics that clients ask for {creating} created")
    lines.append(f"kgw ready: {gateway.bootstrap.replace(',', ', ')}")
    try:
        for line in lines:
            click.echo(line)
    except OSError as error:  # a closed pipe or a full disk is no reason to stop
        logging.getLogger("kgw").warning("standard output cannot be written: %s", error.strerror)


def _signals(stack: ExitStack) -> AsyncIterator[signal.Signals] | None:
    """SIGINT and SIGTERM until the stack is left; None on Windows, whose event loops have no signals."""
    if sys.platform == "win32":
        return None
    return stack.enter_context(anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM))


async def _asked_to_stop(signals: AsyncIterator[signal.Signals] | None) -> None:
    """Wait for a signal, or without signals for the KeyboardInterrupt."""
    if signals is None:
        await anyio.sleep_forever()
        return
    number = await anext(signals)
    logging.getLogger("kgw").info("%s: answering what was asked, then stopping", number.name)


async def _asked_again(signals: AsyncIterator[signal.Signals] | None, gateway: Gateway) -> None:
    """Stop without waiting at a second signal. A third one has its default effect."""
    if signals is not None:
        number = await anext(signals)
        logging.getLogger("kgw").warning("%s again: stopping at once", number.name)
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        gateway.drain_timeout.expire()


def _open_standard_streams() -> None:
    """Open standard streams that the shell has closed (``>&-``). Else a socket would get the number of one,
    and libuv would abort."""
    for number in (0, 1, 2):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # gets the lowest free number


def _show_logs(level: str) -> None:
    logging.basicConfig(
        level=level.upper(),
        format="%(asctime)s %(levelname)s %(message)s",
        datefmt="%H:%M:%S",
        stream=sys.stderr,
    )
    logging.getLogger("asyncio").setLevel(logging.WARNING)


def _has_uvloop() -> bool:
    try:
        import uvloop  # noqa: F401 # anyio imports it itself, and fails if it is missing
    except ImportError:
        return False
    return True


def _leaves(group: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    leaves: list[BaseException] = []
    for error in group.exceptions:
        leaves += _leaves(error) if isinstance(error, BaseExceptionGroup) else [error]
    return leaves
