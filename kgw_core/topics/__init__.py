"""The catalog of topics, and the configs of topics and brokers.

Only ``catalog`` creates, changes and deletes topics. ``names`` has the rules of their names. ``configs``
validates, resolves and describes their configs, which ``definitions`` lists. ``broker_configs`` describes a
broker's configs of ``broker_config_table``.
"""
