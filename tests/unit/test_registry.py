"""The served APIs, and that all places that list them agree."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import pytest

from kgw_core import api as package
from kgw_core.api import registry
from kgw_core.api.registry import Api
from kgw_core.wire import index
from tools import api_versions_page

PAGE = Path(__file__).parents[2] / "docs" / "reference" / "api-versions.md"


def declaring() -> list[str]:
    """The modules of kgw_core.api that declare an API, by looking at all of them."""
    names = [module.name for module in iter_modules(package.__path__)]
    return [name for name in names if hasattr(import_module(f"kgw_core.api.{name}"), "API")]


def test_every_module_that_declares_an_api_is_served() -> None:
    assert sorted(registry.MODULES) == sorted(declaring())


def test_a_module_is_named_after_its_api() -> None:
    for name in registry.MODULES:
        api: Api = import_module(f"kgw_core.api.{name}").API
        assert name.replace("_", "") == api.name.lower()


def test_no_api_is_declared_twice() -> None:
    assert len(registry.load()) == len(registry.MODULES)


def test_apis_come_in_the_order_of_their_keys() -> None:
    apis = registry.load()
    assert list(apis) == sorted(apis)
    assert all(key == api.key and index.APIS[key].name == api.name for key, api in apis.items())


@pytest.mark.parametrize("versions", [(-1, 3), (4, 3), (0, 99)])
def test_versions_that_the_definitions_do_not_have_cannot_be_declared(versions: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="Metadata"):
        Api("Metadata", versions, lambda request, context: None, lambda request, error, context: None)


def test_an_api_that_the_definitions_do_not_have_cannot_be_declared() -> None:
    with pytest.raises(KeyError):
        Api("Teleport", (0, 1), lambda request, context: None, lambda request, error, context: None)


def test_the_reference_page_shows_the_registry() -> None:
    assert PAGE.read_text(encoding="utf-8") == api_versions_page.page(), (
        "run python -m tools.api_versions_page to write docs/reference/api-versions.md"
    )


def test_the_page_has_every_served_api_with_its_versions() -> None:
    text = api_versions_page.page()
    for api in registry.load().values():
        first, last = api.versions
        assert f"| {api.key} | {api.name} | {first}-{last} |" in text
