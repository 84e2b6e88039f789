"""The crash test: clients at work, a gateway that is killed at random moments, and a history that is checked.

``python -m tests.crash --rounds 200`` runs it at length, ``test_crash.py`` a few rounds of it.
"""
