"""The options and the error handling of commands that send requests to a running broker."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import TYPE_CHECKING, Any, NamedTuple

import click

if TYPE_CHECKING:
    from kgw_core.client import Client

BOOTSTRAP = "127.0.0.1:9092"


class Asking(NamedTuple):
    """The brokers, the timeout, and the output: JSON, a table, or None for whichever fits the terminal."""

    bootstrap: str
    seconds: float
    as_json: bool | None

    def client(self) -> Client:
        """A client of the cluster. :raises ClientError: ``bootstrap`` is no address."""
        from kgw_core.client import Client

        return Client(self.bootstrap, timeout=self.seconds)


def asks(function: Callable[..., None]) -> Callable[..., None]:
    """Add the options ``--bootstrap``, ``--timeout`` and ``--json``/``--table``, passed as ``asking``."""

    @wraps(function)
    def asking(bootstrap: str, timeout: float, as_json: bool | None, **others: Any) -> None:
        function(asking=Asking(bootstrap, timeout, as_json), **others)

    for option in reversed(_OPTIONS):
        asking = option(asking)
    return asking


def _addresses(_: click.Context, __: click.Parameter, text: str) -> str:
    """Check the text. :raises click.BadParameter: it has no address, or a wrong one."""
    from kgw_core.client import ClientError
    from kgw_core.client.cluster import addresses

    try:
        addresses(text)
    except ClientError as error:
        raise click.BadParameter(str(error)) from None
    return text


_OPTIONS = (
    click.option(
        "-b", "--bootstrap", "--bootstrap-server", "bootstrap", envvar="KGW_BOOTSTRAP", default=BOOTSTRAP,
        callback=_addresses,
        metavar="HOST[:PORT],…", show_default=True, show_envvar=True, help="Brokers to ask.",
    ),
    click.option(
        "--timeout", type=click.FloatRange(min=0, min_open=True), default=30.0, show_default=True,
        metavar="SECONDS", help="How long a broker may take.",
    ),
    click.option(
        "--json/--table", "as_json", default=None,
        help="What to print.  [default: a table on a terminal, JSON elsewhere]",
    ),
)  # fmt: skip


def run(work: Callable[[], Awaitable[None]]) -> None:
    """Await ``work``. An expected error ends the process with status 1 and one message."""
    import anyio

    from kgw_core.client import ClientError
    from kgw_core.errors import KafkaError

    try:
        anyio.run(work)
    except (ClientError, KafkaError) as error:
        raise click.ClickException(str(error)) from None
