"""Consumer groups: who is a member, what each one consumes, and how far the group has come.

``machine`` has the states and rules of a rebalance, ``coordinator`` all groups, ``service`` drives it.
"""
