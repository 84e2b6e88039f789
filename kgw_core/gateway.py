"""The composition root: makes a running gateway of config and plugins. Only this file knows every part."""

from __future__ import annotations

import errno
import logging
import socket
from collections.abc import AsyncIterator, Collection, Coroutine
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeAlias

import anyio
import anyio.abc

from kgw_core.api import registry
from kgw_core.background import Background, brief
from kgw_core.broker import Broker
from kgw_core.budget import Budget
from kgw_core.clock import Clock, SystemClock
from kgw_core.cluster import cluster_id
from kgw_core.config import Config, Listener, Settings
from kgw_core.config_validation import Chosen, checked
from kgw_core.configs.dynamic import DynamicConfigs
from kgw_core.configs.static import static_level
from kgw_core.drain_timeout import DrainTimeout
from kgw_core.errors import KafkaError
from kgw_core.features import Features
from kgw_core.fetching.sessions import FetchSessions
from kgw_core.groups.service import GroupService
from kgw_core.log.events import CoreEvents
from kgw_core.log.ledger import CountingLedger
from kgw_core.log.manager import LogManager, LogSettings
from kgw_core.log.partition import PartitionLog
from kgw_core.placement import Placement
from kgw_core.producer_ids import ProducerIds
from kgw_core.reconfiguring import reconfigure
from kgw_core.server.dispatch import Dispatcher
from kgw_core.server.server import Server
from kgw_core.server.sockets import address_of, bind, is_unix, release, take_connections
from kgw_core.spi.context import StoreContext
from kgw_core.spi.ledger import LedgerContext, OffsetLedger
from kgw_core.spi.settings import Report, entry
from kgw_core.spi.storage import LogStore
from kgw_core.stores import StartError as StartError
from kgw_core.stores import StopError as StopError
from kgw_core.stores import Stores
from kgw_core.topics.auto_creation import AutoCreation
from kgw_core.topics.catalog import Catalog, TopicState
from kgw_core.topics.configs import topic_defaults

if TYPE_CHECKING:
    from kgw_core.log.leading import Leading
    from kgw_core.registration import Registrations

logger = logging.getLogger("kgw")


Bound: TypeAlias = dict[str, list[socket.socket]]
"""The sockets of each listener, by its name."""


@dataclass(frozen=True, slots=True)
class _Parts:
    """What a gateway is made of: its settings, plugins and sockets.

    ``report`` knows the settings' sources, for messages. ``given`` names the settings that somebody wrote
    down.
    """

    config: Config
    report: Report
    given: Collection[str]
    stores: Stores
    ledger: OffsetLedger
    context: StoreContext
    sockets: Bound


class Gateway:
    """A running gateway.

    ``addresses`` are those of each listener, by its name. ``drain_timeout`` limits the steps of the stop.
    ``health`` has the work that fails now.
    """

    def __init__(
        self,
        broker: Broker,
        server: Server,
        addresses: dict[str, list[tuple[str, int]]],
        drain_timeout: DrainTimeout,
    ) -> None:
        self.broker = broker
        self.server = server
        self.addresses = addresses
        self.drain_timeout = drain_timeout
        self.health = broker.health

    @property
    def bootstrap(self) -> str:
        """``host:port`` of every listener, separated by commas."""
        every = [address for bound in self.addresses.values() for address in bound]
        return ",".join(format_address(host, port) for host, port in every)


def format_address(host: str, port: int) -> str:
    """``host:port``, with an IPv6 address in brackets; for a Unix socket ``unix:`` with its path."""
    if is_unix(host):
        return host
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


@asynccontextmanager
async def running(
    config: Config,
    *,
    report: Report | None = None,
    store: LogStore | None = None,
    ledger: OffsetLedger | None = None,
    clock: Clock | None = None,
    chosen: Chosen | None = None,
    given: Collection[str] = (),
) -> AsyncIterator[Gateway]:
    """Start a gateway. On leaving the block, drain and stop it.

    ``report`` knows the settings' sources, for messages. ``store`` and ``ledger`` replace those that the
    settings select. ``chosen`` are the plugins, if the settings have been validated already. ``given`` names
    the settings that somebody wrote down, as ``topics.num_partitions``.

    :raises kgw_core.spi.settings.ConfigError: the settings or a plugin that they select are wrong.
    :raises StartError: the storage cannot be opened, or an address cannot be bound.
    :raises StopError: storage or state could not be closed.
    """
    report = report or Report("config")
    if chosen is None:
        chosen = checked(Settings(config, report), storage=store is None)
    if ledger is None:
        ledger = chosen.ledger.make() if chosen.ledger is not None else CountingLedger()
    if chosen.storage is not None:
        store = store or chosen.storage.make()
    assert store is not None, "given or chosen"
    clock = clock or SystemClock()
    state = chosen.state.make() if chosen.state is not None else None
    context = StoreContext(config.node_id, Background(clock), events=CoreEvents())
    stores = Stores(store, state)
    # Addresses first: if one is in use, the store is not opened.
    async with _bound(config) as socks, stores.opened(context), anyio.create_task_group() as tasks:
        parts = _Parts(config, report, given, stores, ledger, context, socks)
        async with _serving(parts, tasks) as gateway:
            yield gateway
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _bound(config: Config) -> AsyncIterator[Bound]:
    """The sockets of all listeners. :raises StartError: names all addresses that cannot be bound."""
    bound: Bound = {}
    refused = []
    try:
        for listener in config.listeners:
            try:
                bound[listener.name] = await bind(listener)
            except OSError as error:
                refused.append(_refused(listener, error))
        if refused:
            raise StartError("\n".join(refused))
        yield bound
    finally:
        for listener in config.listeners:
            release(listener, bound.get(listener.name, []))


def _refused(listener: Listener, error: OSError) -> str:
    place = format_address(listener.host, listener.port)
    why = error.strerror or str(error)
    if error.errno == errno.EADDRINUSE and not is_unix(listener.host):
        why += "; port 0 takes any free port"
    return f"listener {listener.name}: cannot listen on {place}: {why}"


@asynccontextmanager
async def _serving(parts: _Parts, tasks: anyio.abc.TaskGroup) -> AsyncIterator[Gateway]:
    config, stores, ledger, context = parts.config, parts.stores, parts.ledger, parts.context
    store, state = stores.store, stores.state

    def start(work: Coroutine[Any, Any, None]) -> None:
        tasks.start_soon(_awaited, work)

    clock, events = context.clock, context.events
    assert isinstance(events, CoreEvents)
    background = Background(clock, start, context.background.health)
    spawn = background.spawn
    try:
        await ledger.open(LedgerContext(config.node_id, background, store=store, state=state, events=events))
    except Exception as error:
        raise StartError(f"ledger {ledger.name}: {error}") from error

    configs = DynamicConfigs(
        state,
        spawn,
        str(config.node_id),
        static_level(config, parts.given),
        config.limits.append_timeout,
        background,
    )
    registrations = None
    if ledger.shared:
        from kgw_core.registration import Registrations

        _check_shared(ledger, stores)
        registrations = Registrations(state, background, config.node_id, config.rack, config.session_timeout)
    placement = Placement(config.node_id, config.rack, ledger, registrations)
    try:
        cluster = await cluster_id(state, config.cluster_id)
        await configs.load()
    except Exception as error:
        raise StartError(f"state {state.name}: {error}") from error
    budget = Budget(config.limits.max_total_in_flight_bytes)
    logs = LogManager(
        LogSettings(
            store=store,
            ledger=ledger,
            background=background,
            spawn=spawn,
            state=state,
            budget=budget,
            answers=Budget(config.limits.max_total_queued_bytes),
            max_inflated=config.limits.max_inflated_batch,
            check_records=config.topics.check_records,
            tail_cache=config.limits.tail_cache,
            retention_interval=config.topics.retention_check_interval,
            compaction_interval=config.topics.compaction_check_interval,
        )
    )
    try:
        await logs.refused.load()
    except Exception as error:
        raise StartError(f"state {state.name}: refused sequences cannot be read: {error}") from error
    catalog: Catalog[PartitionLog] = Catalog(
        store,
        broker_defaults=topic_defaults(configs.levels),
        max_topics=config.limits.max_topics,
        max_partitions=config.limits.max_partitions,
        log_factory=logs.make_log,
    )
    catalog.on_deleted(logs.topic_deleted)
    catalog.on_updated(logs.topic_updated)
    try:
        await catalog.load()
    except Exception as error:
        raise StartError(f"storage {store.name}: topics cannot be read: {error}") from error
    events.listen(catalog.partition, background.chore("taking over topics of others", catalog.refresh).due)
    await _create(config, parts.report, catalog)
    catalog.on_created(lambda topic: logger.info("topic %s created: %s", topic.name, _partitions(topic)))
    catalog.on_deleted(lambda topic: logger.info("topic %s deleted", topic.name))
    groups = GroupService(config.groups, state, clock, spawn, catalog.id_of, background=background)
    catalog.on_deleted(lambda topic: groups.topic_deleted(topic.name, topic.topic.partitions))
    broker = Broker(
        config=config,
        configs=configs,
        features=Features(clock.time_ms()),
        state=state,
        cluster_id=cluster,
        catalog=catalog,
        auto_creation=AutoCreation(catalog, config.topics.num_partitions, clock),
        logs=logs,
        groups=groups,
        placement=placement,
        producer_ids=ProducerIds(state, clock),
        clock=clock,
        spawn=spawn,
        health=background.health,
        fetch_sessions=FetchSessions(
            config.limits.max_fetch_sessions, config.limits.max_fetch_session_partitions
        ),
    )
    server = Server(Dispatcher(broker, registry.load()), config.limits, budget, logs.coalescer)
    configs.apply = partial(reconfigure, config, configs, catalog, logs, server)
    await configs.apply()
    for number in range(store.writers):  # a topic may need them, even if the store as a whole does not
        tasks.start_soon(background.keep, f"writer {number + 1} of the store", logs.writers.run)
    tasks.start_soon(
        background.every, "closing late connections", server.check_interval, server.check_timeouts
    )
    tasks.start_soon(logs.upkeep)
    tasks.start_soon(groups.upkeep)
    leading = None
    if registrations is not None:
        from kgw_core.log.leading import Leading

        leading = Leading(logs, placement)
        logs.may_lead = placement.may_lead
        try:
            await registrations.register(_advertised(config, parts.sockets))
        except StartError:
            raise
        except Exception as error:
            raise StartError(f"state {state.name}: cannot register as a broker: {error}") from error
        registrations.looked += [leading.due, lambda: groups.coordinates(placement.coordinates())]
        groups.coordinator.groups.lapsed = lambda: registrations.lapsed
        catalog.on_created(lambda _: leading.due())
        catalog.on_updated(lambda _: leading.due())
        tasks.start_soon(registrations.run)
        leading.due()
        groups.coordinates(placement.coordinates())
    elif state.capabilities().immediate:
        try:
            await groups.load_once()
        except Exception as error:
            raise StartError(f"state {state.name}: groups cannot be read: {error}") from error
    else:
        spawn(groups.load())
    addresses: dict[str, list[tuple[str, int]]] = {}
    timeout = DrainTimeout(config.limits.drain_timeout)
    try:
        for listener in config.listeners:
            try:
                take_connections(listener, parts.sockets[listener.name])
            except OSError as error:
                raise StartError(_refused(listener, error)) from None
        stores.serves = True
        for listener in config.listeners:
            addresses[listener.name] = await server.listen(listener, parts.sockets[listener.name])
        yield Gateway(broker, server, addresses, timeout)
    finally:
        with anyio.CancelScope(shield=True):
            await timeout.step("closing the listeners", server.stop_listening)
            broker.draining = True
            background.hurry()
            logs.purgatory.finish_all()
            await timeout.step("writing configs", configs.stop)
            await timeout.step("writing what groups have asked for", groups.stop)
            await server.drain(timeout)
            await timeout.step("writing what was appended", logs.drained)
            if leading is not None and registrations is not None:
                await timeout.step("resigning", partial(_resigned, leading, registrations))
            await timeout.step("closing the ledger", ledger.close)


def _check_shared(ledger: OffsetLedger, stores: Stores) -> None:
    """Return if store and state allow several gateways. :raises StartError: one does not."""
    if not stores.store.capabilities().fences:
        raise StartError(
            f"ledger {ledger.name} is for several gateways, which storage {stores.store.name} cannot fence"
        )
    if stores.state.capabilities().immediate:
        raise StartError(
            f"ledger {ledger.name} is for several gateways, and state {stores.state.name} is this one's alone"
        )


def _advertised(config: Config, bound: Bound) -> dict[str, tuple[str, int]]:
    """The addresses for clients of other gateways, by listener. :raises StartError: a listener has none."""
    addresses: dict[str, tuple[str, int]] = {}
    for listener in config.listeners:
        host, port = address_of(bound[listener.name][0].getsockname())
        if listener.advertised is not None:
            host, given = listener.advertised
            port = given if given is not None else port
        elif host in ("0.0.0.0", "::"):
            raise StartError(
                f"listener {listener.name} listens on every address, so other gateways cannot tell clients "
                "where this one is: set advertise"
            )
        addresses[listener.name] = host, port
    return addresses


async def _resigned(leading: Leading, registrations: Registrations) -> None:
    for step in (leading.resign, registrations.leave):
        try:
            await step()
        except Exception as error:
            logger.warning("other gateways take over when this one's leases run out: %s", brief(error))


async def _awaited(work: Coroutine[Any, Any, None]) -> None:
    await work


async def _create(config: Config, report: Report, catalog: Catalog[PartitionLog]) -> None:
    refused = []
    for number, wanted in enumerate(config.topics.create, 1):
        try:
            await catalog.ensure(
                wanted.name, wanted.partitions or config.topics.num_partitions, wanted.configs
            )
        except KafkaError as error:
            place = partial(entry, "[[topics.create]]", number, wanted.name)
            origin = report.origin(place(), beside=[place("name"), place("partitions")])
            refused.append(f"{origin}: {error}")
    if refused:
        raise StartError("\n".join(refused))


def _partitions(topic: TopicState[PartitionLog]) -> str:
    count = len(topic.partitions)
    return "1 partition" if count == 1 else f"{count} partitions"
