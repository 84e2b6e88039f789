"""Consumer groups: their members, assignments and committed offsets. Kafka's GroupCoordinator.

``machine`` has the states and rules of a rebalance, ``coordinator`` all groups, ``service`` drives it.
"""
