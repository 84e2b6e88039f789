"""Discovery and choice of plugins: real entry points, in distributions made up for the test."""

from __future__ import annotations

import difflib
import importlib
import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pluggy
import pytest

from kgw_core.plugins import Choice, PluginError, check, choose, found, installed
from kgw_core.spi import hookspecs, ledger, storage
from kgw_core.spi.settings import Report

LOADED_LATE = (difflib, hookspecs, ledger, pluggy)  # sys.path is cut down below

STORE = """
from kgw_core.spi.hookspecs import hookimpl
from kgw_core.spi.storage import LogStore

class Store(LogStore):
    name = "{name}"
    topics = create_topic = update_topic = delete_topic = append = read = bounds = trim = write_time = None

@hookimpl
def kgw_register_storage():
    return [Store]
"""

Install = Callable[..., str]


@pytest.fixture
def install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Install]:
    """Makes a distribution with one entry point and one module, in a path without any other distribution."""
    path = [p for p in sys.path if not any(Path(p).glob("*.dist-info"))]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *path])
    modules: list[str] = []

    def install(dist: str, version: str, entry: str, source: str = "") -> str:
        module = f"kgw_fake_{len(modules)}"
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{dist.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {dist}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[kgw]\n{entry} = {module}\n" if entry else "")
        modules.append(module)
        importlib.invalidate_caches()
        return module

    install("kgw-core", "2.0", "")
    yield install
    for module in modules:
        sys.modules.pop(module, None)


def chosen(
    use: str, settings: Mapping[str, object], *, kind: str = "storage", env: Mapping[str, str] | None = None
) -> Choice[Any]:
    report = Report("kgw.toml")
    choice = choose(kind, use, settings, report, env or {})
    if choice is None:
        raise PluginError(*report.problems)
    return choice


def refused(use: str, **settings: object) -> str:
    """The message for the user, without the place that names a plugin."""
    with pytest.raises(PluginError) as caught:
        chosen(use, settings)
    told = str(caught.value)
    assert told.startswith("kgw.toml: [storage] ")
    return told.removeprefix("kgw.toml: [storage] use: ")


def test_what_is_installed_is_known_without_importing_anything(install: Install) -> None:
    modules = [
        install("kgw-storage-b", "1", "storage.b", "raise RuntimeError"),
        install("kgw-storage-a", "2", "storage.a", "raise RuntimeError"),
        install("kgw-ledger-x", "3", "ledger.x", "raise RuntimeError"),
    ]
    assert installed("storage") == ["a", "b"]
    assert installed("ledger") == ["x"]
    assert installed("sasl") == []
    assert [plugin.distribution for plugin in found()] == [
        "kgw-ledger-x 3",
        "kgw-storage-a 2",
        "kgw-storage-b 1",
    ]
    assert not set(modules) & set(sys.modules)


def test_the_chosen_plugin_is_imported_and_no_other(install: Install) -> None:
    install("kgw-storage-broken", "1", "storage.broken", "raise RuntimeError")
    module = install("kgw-storage-x", "1", "storage.x", STORE.format(name="x"))
    store = chosen("x", {}).make()
    assert isinstance(store, storage.LogStore)
    assert (type(store).__module__, store.config) == (module, None)


def test_a_ledger_is_chosen_by_its_own_hook(install: Install) -> None:
    source = """
from kgw_core.spi.hookspecs import hookimpl
from kgw_core.spi.ledger import OffsetLedger

class Mine(OffsetLedger):
    name = "mine"
    lead = leader = reserve = committed = released = None

@hookimpl
def kgw_register_ledger():
    return [Mine]
"""
    install("kgw-ledger-mine", "1", "ledger.mine", source)
    assert chosen("mine", {}, kind="ledger").cls.name == "mine"


def test_a_new_kind_is_one_entry_in_the_table(install: Install, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its entry points, hook, API version and the checks of its classes follow from the entry."""

    class Lamp:
        api_version = 3
        Config = None
        name = "none"

        def __init__(self, config: None) -> None:
            pass

    monkeypatch.setattr(hookspecs, "KINDS", {**hookspecs.KINDS, "lamp": Lamp})
    source = """
from kgw_core.spi.hookspecs import KINDS, hookimpl

class Green(KINDS["lamp"]):
    name = "green"

class Old(KINDS["lamp"]):
    name = "old"
    api_version = 2

@hookimpl
def kgw_register_lamp():
    return [Green, Old]
"""
    install("kgw-lamp-green", "1", "lamp.green", source)
    install("kgw-lamp-old", "1", "lamp.old", source)
    assert installed("lamp") == ["green", "old"]
    assert isinstance(chosen("green", {}, kind="lamp").make(), Lamp)
    with pytest.raises(PluginError, match=r"speaks lamp API 2; this kgw-core 2\.0 needs 3"):
        chosen("old", {}, kind="lamp")
    for plugin in found():
        if plugin.name == "green":
            check(plugin)


def test_one_that_is_not_installed_is_told_with_those_that_are(install: Install) -> None:
    assert refused("other") == 'storage "other" is not installed. Installed: none.'
    install("kgw-storage-memory", "1", "storage.memory")
    assert refused("sqlite") == (
        'storage "sqlite" is not installed. Installed: memory. Try: pip install kgw-storage-sqlite'
    )
    assert refused("other") == 'storage "other" is not installed. Installed: memory.'


def test_a_typo_is_told_with_the_nearest_name(install: Install) -> None:
    install("kgw-storage-memory", "1", "storage.memory")
    assert refused("memry") == 'storage "memry" is not installed (did you mean "memory"?). Installed: memory.'
    assert refused("sqlit") == (
        'storage "sqlit" is not installed (did you mean "sqlite"?). Installed: memory. '
        "Try: pip install kgw-storage-sqlite"
    )


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("import aiosqlite_that_is_not_there", "ModuleNotFoundError: aiosqlite_that_is_not_there"),
        ("raise RuntimeError('no\\nluck')", "RuntimeError: no"),
        ("raise KeyError", "KeyError"),
        ("def (", "SyntaxError: invalid syntax"),
    ],
)
def test_one_that_does_not_import_is_told_by_distribution(install: Install, source: str, told: str) -> None:
    install("kgw-storage-x", "0.3", "storage.x", source)
    assert refused("x").startswith(f"plugin kgw-storage-x 0.3 failed to import: {told}")
    assert refused("x").endswith("(kgw plugins --check for the traceback)")


@pytest.mark.parametrize("version", [1, 3])
def test_one_of_another_api_version_is_refused(install: Install, version: int) -> None:
    source = STORE.format(name="x").replace("    name =", f"    api_version = {version}\n    name =")
    install("kgw-storage-x", "0.2", "storage.x", source)
    assert refused("x") == f"kgw-storage-x 0.2 speaks storage API {version}; this kgw-core 2.0 needs 2"


def test_two_of_one_name_are_told_by_distribution_and_class(install: Install) -> None:
    one = install("kgw-one", "1", "storage.x", STORE.format(name="x"))
    two = install("kgw-two", "2", "storage.x", STORE.format(name="x"))
    assert refused("x") == (
        f'storage "x" is offered twice: by kgw-one 1 ({one}.Store) and kgw-two 2 ({two}.Store). '
        "Uninstall one of them"
    )


def test_one_whose_classes_have_other_names_is_refused(install: Install) -> None:
    module = install("kgw-storage-x", "1", "storage.x", STORE.format(name="y"))
    assert refused("x") == (
        f"plugin kgw-storage-x 1 has the entry point storage.x, but offers only {module}.Store: "
        'kgw_register_storage must return a class with name = "x"'
    )


def test_one_without_the_hook_is_refused(install: Install) -> None:
    install("kgw-storage-x", "1", "storage.x")
    assert "but offers no class: kgw_register_storage must return" in refused("x")


def test_a_class_that_is_no_store_is_refused(install: Install) -> None:
    module = install("kgw-storage-x", "1", "storage.x", STORE.format(name="x").replace("(LogStore)", ""))
    assert refused("x") == f"plugin kgw-storage-x 1: {module}.Store is not a LogStore"


def test_a_class_that_lacks_methods_is_refused_with_their_names(install: Install) -> None:
    source = STORE.format(name="x").replace("trim =", "other =").replace("append = ", "")
    module = install("kgw-storage-x", "1", "storage.x", source)
    assert refused("x") == f"plugin kgw-storage-x 1: {module}.Store lacks append, trim"


@pytest.mark.parametrize("hook", ["def kgw_register_storage(more)", "def kgw_register_rockets()"])
def test_a_hook_that_this_core_does_not_know_is_refused(install: Install, hook: str) -> None:
    source = STORE.format(name="x").replace("def kgw_register_storage()", hook)
    install("kgw-storage-x", "1", "storage.x", source)
    assert refused("x").startswith("plugin kgw-storage-x 1 does not fit this kgw-core 2.0: ")
    assert hook[4:].partition("(")[0] in refused("x")
    assert "\n" not in refused("x")


def test_a_hook_that_raises_is_told_by_distribution(install: Install) -> None:
    source = STORE.format(name="x").replace("return [Store]", "return 1 // 0")
    install("kgw-storage-x", "1", "storage.x", source)
    assert refused("x").startswith("plugin kgw-storage-x 1: kgw_register_storage: ZeroDivisionError")


CONFIGURED = (
    "import msgspec\nfrom kgw_core.spi.settings import Secret, Size\n"
    "class Config(msgspec.Struct, kw_only=True):\n"
    "    path: str\n    cache: Size = 1\n    key: Secret = Secret()\n"
    + STORE.format(name="x").replace("    name =", "    Config = Config\n    name =")
)


def test_settings_are_checked_against_the_plugins_own_types(install: Install) -> None:
    install("kgw-storage-x", "1", "storage.x", CONFIGURED)
    table = {"path": "p", "cache": "1KiB", "key": {"env": "KEY"}}
    config = chosen("x", table, env={"KEY": "secret"}).config
    assert (config.path, config.cache, config.key) == ("p", 1024, "secret")


def test_wrong_settings_are_told_all_at_once(install: Install) -> None:
    install("kgw-storage-x", "1", "storage.x", CONFIGURED)
    assert refused("x", cache="big", pth="p").splitlines() == [
        'kgw.toml: [storage] cache: expected a size in bytes, such as 1048576 or "1MiB", got "big"',
        'kgw.toml: [storage] pth: unknown key; did you mean "path"?',
        "kgw.toml: [storage] path: is missing; expected text",
    ]


def test_settings_of_a_plugin_that_has_none_are_refused(install: Install) -> None:
    install("kgw-storage-x", "1", "storage.x", STORE.format(name="x"))
    assert refused("x", path=1, size=2).splitlines() == [
        'kgw.toml: [storage] path: unknown key; storage "x" has no settings',
        'kgw.toml: [storage] size: unknown key; storage "x" has no settings',
    ]


def test_nothing_is_made_before_it_is_asked_for_and_a_failing_constructor_is_told(install: Install) -> None:
    broken = "    name =", "    def __init__(self, config): raise OSError('no disk')\n    name ="
    install("kgw-storage-x", "1", "storage.x", STORE.format(name="x").replace(*broken))
    choice = chosen("x", {})
    with pytest.raises(PluginError, match=r'^storage "x" \(kgw-storage-x 1\): OSError: no disk$'):
        choice.make()


def test_hook_calls_are_logged_where_the_environment_asks_for_it(
    install: Install, caplog: pytest.LogCaptureFixture
) -> None:
    module = install("kgw-storage-x", "1", "storage.x", STORE.format(name="x"))
    with caplog.at_level(logging.WARNING):
        chosen("x", {})
        assert caplog.messages == []
        chosen("x", {}, env={"KGW_TRACE_PLUGINS": "1"})
    assert caplog.messages == [f"hook kgw_register_storage of {module} -> [[<class '{module}.Store'>]]"]
