"""The conformance suite of :class:`~kgw_core.spi.storage.LogStore`, one file a part of the contract."""

from __future__ import annotations

from kgw_core.testing.log_store.appends import Appends
from kgw_core.testing.log_store.base import Bench
from kgw_core.testing.log_store.compaction import Compaction
from kgw_core.testing.log_store.concurrency import Concurrency
from kgw_core.testing.log_store.durability import Durability
from kgw_core.testing.log_store.fencing import Fencing
from kgw_core.testing.log_store.reads import Reads
from kgw_core.testing.log_store.times import Times
from kgw_core.testing.log_store.topics import Topics
from kgw_core.testing.log_store.trims import Trims
from kgw_core.testing.log_store.write_times import WriteTimes

__all__ = ["Bench", "LogStoreSuite"]


class LogStoreSuite(
    Topics, Appends, Reads, Trims, Times, WriteTimes, Compaction, Fencing, Concurrency, Durability
):
    """Tests of every promise that a store makes. An author writes, in a test file::

        class TestMyStore(LogStoreSuite):
            @pytest.fixture
            def store(self, tmp_path):
                return MyStore(MyStore.Config(path=tmp_path / "data"))

    ``store`` returns a store that is not open; the suite opens and closes it. What the store does not
    declare in its ``capabilities`` is not asked of it: those tests are skipped, and say why.

    A store that declares ``durable`` also has the fixture ``reopen``: a ``functools.partial`` of a function
    or class at the top level of a module, with arguments that can be pickled. Calling it makes a store on
    the same data; it is called here, after the first store is closed, and in a process that is killed
    while it appends. ``store`` can then be left out: it is ``reopen()``.

    Optional is the fixture ``failing``: a function that returns a context manager, inside which the store's
    appends fail as they would on a full disk.
    """
