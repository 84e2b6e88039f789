"""Validates the settings as a whole: against each other, against Kafka's rules, and against the plugins.

This happens before anything is opened, so that all problems are reported at once.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple

from kgw_core.config import Ledger, Limits, Listener, NewTopic, Settings, State, Storage, Topics
from kgw_core.errors import InvalidConfig, InvalidTopicException
from kgw_core.plugins import Choice, choose
from kgw_core.server.sockets import is_unix
from kgw_core.spi.ledger import OffsetLedger
from kgw_core.spi.settings import ConfigError, Place, Report, entry, nearest
from kgw_core.spi.state import StateStore
from kgw_core.spi.storage import LogStore
from kgw_core.topics.configs import validate
from kgw_core.topics.names import check_name, is_hidden, is_internal, unified


class Chosen(NamedTuple):
    """The plugins that a config names. None stands for the core's own, and for a storage that is given."""

    storage: Choice[LogStore] | None
    ledger: Choice[OffsetLedger] | None
    state: Choice[StateStore] | None


def checked(settings: Settings, *, storage: bool = True) -> Chosen:
    """Validate the settings; return their plugins. With ``storage`` false its plugin is not looked up.

    :raises ConfigError: names all problems, also those found when the settings were read.
    """
    config, report = settings.config, settings.report
    _listeners(config.listeners, report)
    _new_topics(config.topics, report)
    _limits(config.topics, config.limits, report)
    chosen = Chosen(
        _chosen("storage", config.storage, report) if storage else None,
        _chosen("ledger", config.ledger, report),
        _chosen("state", config.state, report),
    )
    if report.problems:
        raise ConfigError(*report.problems)
    return chosen


def _chosen(kind: str, table: Storage | Ledger | State, report: Report) -> Choice[Any] | None:
    if report.is_wrong(Place(f"[{kind}]", "use")):  # the plugin decides which other keys there are
        return None
    if table.use is not None:
        return choose(kind, table.use, table.settings, report)
    for key, given in table.settings.items():
        hint = ' (did you mean "use"?)' if nearest(key, ["use"]) else ""
        report.add(Place(f"[{kind}]", key), f"unknown key{hint}; without use there are no settings", given)
    return None


def _listeners(listeners: tuple[Listener, ...], report: Report) -> None:
    """The names and the addresses of listeners have to differ."""
    if not listeners:
        report.add(Place("", "listeners"), "is empty: clients could not connect")
    seen: dict[str, int] = {}
    for number, listener in enumerate(listeners, 1):
        if not isinstance(listener, Listener):  # its problem has been reported
            continue
        first = seen.setdefault(listener.name, number)
        if first != number:
            problem = f'"{listener.name}" is the name of #{first}, too; each needs its own'
            places = [entry("[[listeners]]", one, listener.name, "name") for one in (number, first)]
            report.add(places[0], problem, beside=places[1:])
        if is_unix(listener.host):
            address, keys = listener.host, ["host"]
        elif listener.port:
            address, keys = f"{listener.host}:{listener.port}", ["port", "host"]
        else:
            continue
        first = seen.setdefault(f"at {address}", number)
        if first != number:
            problem = f"{address} is the address of #{first}, too; each needs its own"
            places = [
                entry("[[listeners]]", one, listener.name, key) for one in (number, first) for key in keys
            ]
            report.add(places[0], problem, beside=places[1:])


def _new_topics(topics: Topics, report: Report) -> None:
    """Names and configs of topics to create have to follow Kafka's rules, and names have to differ."""

    def valid(configs: Mapping[str, str]) -> None:
        validate({}, configs)

    defaults = _configs(topics.defaults, Place("[topics.defaults]"), report, valid)
    seen: dict[str, int] = {}
    for number, topic in enumerate(topics.create, 1):
        if not isinstance(topic, NewTopic):
            continue
        place = entry("[[topics.create]]", number, topic.name, "name")
        try:
            check_name(topic.name)
        except InvalidTopicException as error:
            report.add(place, str(error))
        if is_hidden(topic.name):
            report.add(place, f'"{topic.name}" is the gateway\'s own')
        first = seen.setdefault(unified(topic.name), number)
        if first != number:
            other = topics.create[first - 1].name
            also = "" if other == topic.name else f', "{other}": in metrics "." and "_" are the same'
            report.add(place, f'"{topic.name}" is #{first}, too{also}')
        configs = _configs(
            topic.configs, entry("[topics.create.configs]", number, topic.name), report, validate
        )
        try:
            validate(configs, defaults)
        except InvalidConfig as error:
            report.add(entry("[topics.create.configs]", number, topic.name), str(error))


def _limits(topics: Topics, limits: Limits, report: Report) -> None:
    """The topics to create have to be within the limits. Existing topics are not known here."""
    if topics.num_partitions > limits.max_partitions:
        problem = f"{topics.num_partitions} partitions of a topic are more than [limits] max_partitions"
        beside = [Place("[limits]", "max_partitions")]
        report.add(Place("[topics]", "num_partitions"), f"{problem} ({limits.max_partitions})", beside=beside)
        return
    created = partitions = 0
    for number, topic in enumerate(topics.create, 1):
        if not isinstance(topic, NewTopic) or is_internal(topic.name):
            continue
        created += 1
        partitions += topic.partitions or topics.num_partitions
        for count, key in ((created, "max_topics"), (partitions, "max_partitions")):
            if count > getattr(limits, key):
                what = f"makes {count} {key.removeprefix('max_')} in all, more than [limits] {key}"
                here = partial(entry, "[[topics.create]]", number, topic.name)
                beside = [here("name"), Place("[limits]", key), Place("[topics]", "num_partitions")]
                report.add(here("partitions"), f"{what} ({getattr(limits, key)})", beside=beside)
                return


def _configs(
    configs: Mapping[str, str], table: Place, report: Report, valid: Callable[[Mapping[str, str]], None]
) -> dict[str, str]:
    """Report wrong configs; return the valid ones."""
    right: dict[str, str] = {}
    for name, text in configs.items():
        try:
            valid({**right, name: text})
        except InvalidConfig as error:
            report.add(table._replace(key=name), str(error))
        else:
            right[name] = text
    return right
