"""All that a plugin author has to read: interfaces, hooks, and the types of settings.

Start with :mod:`kgw_core.spi.storage`; its docstring is the contract that
:class:`kgw_core.testing.LogStoreSuite` checks.
"""
