"""Finding plugins, and choosing by config the ones that are used.

What is installed is known from metadata alone: entry points of the group ``kgw``, named
``<kind>.<name>`` (``storage.sqlite``). Only what the config names is imported, so a broken plugin that
nobody chose cannot hurt. A chosen one is checked before anything is made of it: its hooks, its class, its
API version, its settings. What is wrong becomes a :class:`PluginError`, whose text is what the user reads.

With the environment variable ``KGW_TRACE_PLUGINS`` set, every hook call is logged.
"""

from __future__ import annotations

import importlib.metadata
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, NoReturn, TypeVar

from kgw_core.spi.settings import ConfigError, Place, Report, nearest, read_into

if TYPE_CHECKING:
    import pluggy

    from kgw_core.spi.ledger import OffsetLedger
    from kgw_core.spi.state import StateStore
    from kgw_core.spi.storage import LogStore

GROUP = "kgw"
FIRST_PARTY = {"storage": ("memory", "sqlite", "seaweedmq")}
"""Names for which ``kgw-<kind>-<name>`` is worth a hint to pip."""

T = TypeVar("T")


class PluginError(ConfigError):
    """A plugin that cannot be used. ``str(error)`` is what the user reads: one line a problem."""


class Plugin(NamedTuple):
    """An installed plugin, as its metadata tells; nothing of it is imported."""

    kind: str
    name: str
    entry_point: importlib.metadata.EntryPoint

    @property
    def distribution(self) -> str:
        """Name and version of the distribution: ``kgw-storage-memory 0.1.0``."""
        dist = self.entry_point.dist
        return f"{dist.name} {dist.version}" if dist is not None else self.entry_point.value


@dataclass(frozen=True, slots=True)
class Choice(Generic[T]):
    """A plugin's class that fits this core, and the settings to make it with."""

    cls: type[T]
    config: Any
    plugin: Plugin

    def make(self) -> T:
        """The object. :raises PluginError: its constructor raised; the cause is attached."""
        try:
            return self.cls(self.config)  # type: ignore[call-arg]
        except Exception as error:
            kind, name, _ = self.plugin
            raise PluginError(f'{kind} "{name}" ({self.plugin.distribution}): {_told(error)}') from error


def found() -> list[Plugin]:
    """All installed plugins by kind and name."""
    plugins = []
    for entry_point in importlib.metadata.entry_points(group=GROUP):
        kind, dot, name = entry_point.name.partition(".")
        if dot and kind and name:
            plugins.append(Plugin(kind, name, entry_point))
    return sorted(plugins, key=lambda plugin: (plugin.kind, plugin.name, plugin.entry_point.value))


def installed(kind: str) -> list[str]:
    """Names of the installed plugins of a kind (``storage``, ``ledger``)."""
    return sorted({plugin.name for plugin in found() if plugin.kind == kind})


def choose(
    kind: str, use: str, settings: Mapping[str, object], report: Report, env: Mapping[str, str] | None = None
) -> Choice[Any] | None:
    """The plugin of a kind (``storage``, ``ledger``, ``state``) called ``use``, checked but not made.

    ``settings`` is the rest of its table, ``env`` the environment (None: the process's). What is wrong goes
    into ``report``; the result is None then.
    """
    env = os.environ if env is None else env
    before = len(report.problems)
    try:
        plugin, cls = _find(_kinds()[kind], use, env)
    except PluginError as error:
        report.add(Place(f"[{kind}]", "use"), str(error))
        return None
    config = _settings(kind, use, cls, settings, report, env)
    return Choice(cls, config, plugin) if len(report.problems) == before else None


def choose_storage(
    use: str, settings: Mapping[str, object], *, where: str, env: Mapping[str, str] | None = None
) -> Choice[LogStore]:
    """The storage called ``use``, checked but not made.

    ``settings`` is the rest of the ``[storage]`` table in the file ``where``, ``env`` the environment
    (None: the process's).

    :raises PluginError: it is not installed, does not import or fit this core, or its settings are wrong.
    """
    return _chosen("storage", use, settings, where, env)


def choose_ledger(
    use: str, settings: Mapping[str, object], *, where: str, env: Mapping[str, str] | None = None
) -> Choice[OffsetLedger]:
    """The offset ledger called ``use``, checked but not made; like :func:`choose_storage`."""
    return _chosen("ledger", use, settings, where, env)


def choose_state(
    use: str, settings: Mapping[str, object], *, where: str, env: Mapping[str, str] | None = None
) -> Choice[StateStore]:
    """The state store called ``use``, checked but not made; like :func:`choose_storage`."""
    return _chosen("state", use, settings, where, env)


def check(plugin: Plugin) -> None:
    """Import ``plugin`` and look whether its class fits this core; its settings are not looked at.

    :raises PluginError: it does not; what it raised is the cause.
    """
    kind = _kinds().get(plugin.kind)
    if kind is None:
        raise PluginError(f"no kind of plugin is called {plugin.kind}")
    _find(kind, plugin.name, {})


def select_storage(
    use: str, settings: Mapping[str, object], *, where: str, env: Mapping[str, str] | None = None
) -> LogStore:
    """:func:`choose_storage`, made. Where several plugins are used, choose all of them first."""
    return choose_storage(use, settings, where=where, env=env).make()


def select_ledger(
    use: str, settings: Mapping[str, object], *, where: str, env: Mapping[str, str] | None = None
) -> OffsetLedger:
    """:func:`choose_ledger`, made. Where several plugins are used, choose all of them first."""
    return choose_ledger(use, settings, where=where, env=env).make()


@dataclass(frozen=True, slots=True)
class _Kind:
    """What the classes of one kind of plugin have in common."""

    name: str
    hook: str
    base: type[Any]
    api_version: int


def _kinds() -> dict[str, _Kind]:
    from kgw_core.spi import state, storage
    from kgw_core.spi.ledger import OffsetLedger

    kinds = (
        _Kind("storage", "kgw_register_storage", storage.LogStore, storage.API_VERSION),
        _Kind("ledger", "kgw_register_ledger", OffsetLedger, storage.API_VERSION),
        _Kind("state", "kgw_register_state", state.StateStore, state.API_VERSION),
    )
    return {kind.name: kind for kind in kinds}


def _chosen(
    kind: str, use: str, settings: Mapping[str, object], where: str, env: Mapping[str, str] | None
) -> Choice[Any]:
    report = Report(where)
    choice = choose(kind, use, settings, report, env)
    if choice is None:
        raise PluginError(*report.problems)
    return choice


def _find(kind: _Kind, use: str, env: Mapping[str, str]) -> tuple[Plugin, type[Any]]:
    all_found = [plugin for plugin in found() if plugin.kind == kind.name]
    plugins = [plugin for plugin in all_found if plugin.name == use]
    if not plugins:
        _not_installed(kind.name, use, [plugin.name for plugin in all_found])
    offers: list[tuple[Plugin, type[Any]]] = []
    others: list[str] = []
    for plugin, cls in _classes(kind, plugins, bool(env.get("KGW_TRACE_PLUGINS"))):
        if getattr(cls, "name", None) == use:
            offers.append((plugin, cls))
        else:
            others.append(_path(cls))
    if len(offers) > 1:
        listed = " and ".join(f"{plugin.distribution} ({_path(cls)})" for plugin, cls in offers)
        raise PluginError(f'{kind.name} "{use}" is offered twice: by {listed}. Uninstall one of them')
    if not offers:
        what = f"offers only {', '.join(others)}" if others else "offers no class"
        raise PluginError(
            f"plugin {plugins[0].distribution} has the entry point {kind.name}.{use}, but {what}: "
            f'{kind.hook} must return a class with name = "{use}"'
        )
    plugin, cls = offers[0]
    _check_class(kind, plugin, cls)
    return plugin, cls


def _not_installed(kind: str, use: str, names: Sequence[str]) -> NoReturn:
    first_party = FIRST_PARTY.get(kind, ())
    meant = None if use in first_party else nearest(use, [*names, *first_party])
    hint = f' (did you mean "{meant}"?)' if meant else ""
    text = f'{kind} "{use}" is not installed{hint}. Installed: {", ".join(sorted(set(names))) or "none"}.'
    missing = meant or use
    if missing in first_party and missing not in names:
        text += f" Try: pip install kgw-{kind}-{missing}"
    raise PluginError(text)


def _classes(kind: _Kind, plugins: Sequence[Plugin], trace: bool) -> list[tuple[Plugin, type[Any]]]:
    """Import ``plugins`` and ask each for its classes."""
    import pluggy

    from kgw_core.spi import hookspecs

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    if trace:
        _trace(manager)
    loaded = []
    for plugin in plugins:
        try:
            module = plugin.entry_point.load()
        except Exception as error:
            raise PluginError(
                f"plugin {plugin.distribution} failed to import: {_told(error)} "
                "(kgw plugins --check for the traceback)"
            ) from error
        try:
            if not manager.is_registered(module):
                manager.register(module, plugin.entry_point.value)
            manager.check_pending()
        except pluggy.PluginValidationError as error:
            reason = " ".join(str(error).split())
            raise PluginError(
                f"plugin {plugin.distribution} does not fit this {_core()}: {reason}"
            ) from error
        loaded.append((plugin, module))
    classes = []
    for plugin, module in loaded:
        rest = [other for _, other in loaded if other is not module]
        try:
            answers = manager.subset_hook_caller(kind.hook, rest)()
        except Exception as error:
            raise PluginError(f"plugin {plugin.distribution}: {kind.hook}: {_told(error)}") from error
        classes += [(plugin, cls) for answer in answers for cls in answer]
    return classes


def _trace(manager: pluggy.PluginManager) -> None:
    import logging

    logger = logging.getLogger("kgw.plugins")

    def after(outcome: Any, hook: str, implementations: Sequence[Any], arguments: Mapping[str, Any]) -> None:
        names = ", ".join(implementation.plugin_name for implementation in implementations)
        # A warning, so that it shows however little is configured: whoever sets the variable wants it.
        logger.warning(
            "hook %s of %s -> %r", hook, names or "nobody", outcome.exception or outcome.get_result()
        )

    manager.add_hookcall_monitoring(lambda *_: None, after)


def _check_class(kind: _Kind, plugin: Plugin, cls: type[Any]) -> None:
    if not (isinstance(cls, type) and issubclass(cls, kind.base)):
        raise PluginError(f"plugin {plugin.distribution}: {_path(cls)} is not a {kind.base.__name__}")
    if cls.api_version != kind.api_version:
        raise PluginError(
            f"{plugin.distribution} speaks {kind.name} API {cls.api_version}; "
            f"this {_core()} needs {kind.api_version}"
        )
    missing = sorted(getattr(cls, "__abstractmethods__", ()))
    if missing:
        raise PluginError(f"plugin {plugin.distribution}: {_path(cls)} lacks {', '.join(missing)}")


def _settings(
    kind: str,
    use: str,
    cls: type[Any],
    settings: Mapping[str, object],
    report: Report,
    env: Mapping[str, str],
) -> Any:
    if cls.Config is not None:
        return read_into(report, settings, cls.Config, name=kind, env=env)
    for key, given in settings.items():
        hint = ' (did you mean "use"?)' if nearest(key, ["use"]) else ""
        report.add(Place(f"[{kind}]", key), f'unknown key{hint}; {kind} "{use}" has no settings', given)
    return None


def _path(cls: Any) -> str:
    return f"{cls.__module__}.{cls.__qualname__}" if isinstance(cls, type) else repr(cls)


def _told(error: Exception) -> str:
    """An exception on one line: ``ModuleNotFoundError: aiosqlite``."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"ModuleNotFoundError: {error.name}"
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".removesuffix(": ")


def _core() -> str:
    try:
        return f"kgw-core {importlib.metadata.version('kgw-core')}"
    except importlib.metadata.PackageNotFoundError:
        return "kgw-core"
