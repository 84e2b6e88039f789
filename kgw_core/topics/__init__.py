"""The catalog of topics, and the configs of topics and brokers.

``catalog`` is the only place that creates, changes and deletes topics; ``names`` says what they may be
called; ``configs`` checks, resolves and describes their configs, all of which stand in the table of
``definitions``; ``broker_configs`` is what a broker says of itself, from ``broker_config_table``.
"""
