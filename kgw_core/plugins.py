"""Finds the installed plugins, and chooses those that the config names.

Metadata alone tells what is installed: entry points of the group ``kgw``, named ``<kind>.<name>``
(``storage.sqlite``). Only a plugin that the config names is imported, so a broken plugin that nobody chose
does no harm. A chosen plugin is checked before its object is made: its hooks, class, API version and
settings. A problem becomes a :class:`PluginError`, whose text is for the user.

If the environment variable ``KGW_TRACE_PLUGINS`` is set, every hook call is logged.
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

GROUP = "kgw"
FIRST_PARTY = {"storage": ("memory", "sqlite", "seaweedmq")}
"""The plugins of this project by kind. A missing one gets a hint to install ``kgw-<kind>-<name>``."""

T = TypeVar("T")


class PluginError(ConfigError):
    """A plugin cannot be used. ``str(error)`` is for the user: one line for each problem."""


class Plugin(NamedTuple):
    """An installed plugin, by its metadata. Nothing of it is imported."""

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
    """The class of a plugin that fits this core, and its settings."""

    cls: type[T]
    config: Any
    plugin: Plugin

    def make(self) -> T:
        """Make the object. :raises PluginError: its constructor raised; the cause is attached."""
        try:
            return self.cls(self.config)  # type: ignore[call-arg]
        except Exception as error:
            kind, name, _ = self.plugin
            raise PluginError(f'{kind} "{name}" ({self.plugin.distribution}): {_brief(error)}') from error


def found() -> list[Plugin]:
    """All installed plugins by kind and name."""
    plugins = []
    for entry_point in importlib.metadata.entry_points(group=GROUP):
        kind, dot, name = entry_point.name.partition(".")
        if dot and kind and name:
            plugins.append(Plugin(kind, name, entry_point))
    return sorted(plugins, key=lambda plugin: (plugin.kind, plugin.name, plugin.entry_point.value))


def installed(kind: str) -> list[str]:
    """The names of the installed plugins of a kind (``storage``, ``ledger``)."""
    return sorted({plugin.name for plugin in found() if plugin.kind == kind})


def choose(
    kind: str, use: str, settings: Mapping[str, object], report: Report, env: Mapping[str, str] | None = None
) -> Choice[Any] | None:
    """The plugin ``use`` of a kind (``storage``, ``ledger``, ``state``), checked. Its object is not made yet.

    ``settings`` is the rest of its table, ``env`` the environment (None: the process's). Problems go into
    ``report``; the result is then None.
    """
    env = os.environ if env is None else env
    before = len(report.problems)
    try:
        plugin, cls = _find(_kind(kind), use, env)
    except PluginError as error:
        report.add(Place(f"[{kind}]", "use"), str(error))
        return None
    config = _settings(kind, use, cls, settings, report, env)
    return Choice(cls, config, plugin) if len(report.problems) == before else None


def check(plugin: Plugin) -> None:
    """Import ``plugin`` and check its class, but not its settings.

    :raises PluginError: the plugin does not fit this core; the cause is attached.
    """
    _find(_kind(plugin.kind), plugin.name, {})


@dataclass(frozen=True, slots=True)
class _Kind:
    """A kind of plugin: its name, its hook and the base of its classes."""

    name: str
    hook: str
    base: type[Any]


def _kind(name: str) -> _Kind:
    from kgw_core.spi import hookspecs

    base = hookspecs.KINDS.get(name)
    if base is None:
        raise PluginError(f"no kind of plugin is called {name}")
    return _Kind(name, hookspecs.hook_of(name), base)


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
    """Import ``plugins``, and get the classes of each from its hook."""
    import pluggy

    from kgw_core.spi import hookspecs

    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs.specs(hookspecs.KINDS))
    if trace:
        _trace(manager)
    loaded = []
    for plugin in plugins:
        try:
            module = plugin.entry_point.load()
        except Exception as error:
            raise PluginError(
                f"plugin {plugin.distribution} failed to import: {_brief(error)} "
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
            raise PluginError(f"plugin {plugin.distribution}: {kind.hook}: {_brief(error)}") from error
        classes += [(plugin, cls) for answer in answers for cls in answer]
    return classes


def _trace(manager: pluggy.PluginManager) -> None:
    import logging

    logger = logging.getLogger("kgw.plugins")

    def after(outcome: Any, hook: str, implementations: Sequence[Any], arguments: Mapping[str, Any]) -> None:
        names = ", ".join(implementation.plugin_name for implementation in implementations)
        # A warning, so that it shows with any log level: the user has set the variable to see it.
        logger.warning(
            "hook %s of %s -> %r", hook, names or "nobody", outcome.exception or outcome.get_result()
        )

    manager.add_hookcall_monitoring(lambda *_: None, after)


def _check_class(kind: _Kind, plugin: Plugin, cls: type[Any]) -> None:
    if not (isinstance(cls, type) and issubclass(cls, kind.base)):
        raise PluginError(f"plugin {plugin.distribution}: {_path(cls)} is not a {kind.base.__name__}")
    if cls.api_version != kind.base.api_version:
        raise PluginError(
            f"{plugin.distribution} speaks {kind.name} API {cls.api_version}; "
            f"this {_core()} needs {kind.base.api_version}"
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


def _brief(error: Exception) -> str:
    """An exception in one line: ``ModuleNotFoundError: aiosqlite``."""
    if isinstance(error, ModuleNotFoundError) and error.name:
        return f"ModuleNotFoundError: {error.name}"
    return f"{type(error).__name__}: {next(iter(str(error).splitlines()), '')}".removesuffix(": ")


def _core() -> str:
    try:
        return f"kgw-core {importlib.metadata.version('kgw-core')}"
    except importlib.metadata.PackageNotFoundError:
        return "kgw-core"
