"""The crash test: clients at work, a storage that fails by chance, a gateway that is killed at random
moments, and histories that are checked.

What is promised, and looked at after deaths and faults: each record that was acknowledged is at the
offset that its producer was told, whole. An idempotent producer's records are there once each and in
order, also those of which it was told nothing yet. Of a compacted topic the last record of each key is
there; of one with retention and DeleteRecords, what lies behind its start, which never goes back.
Committed offsets never go back, and a group skips no record. Topics are there or gone, as was told.

``python -m tests.crash --rounds 200`` runs it at length, ``test_crash.py`` a few rounds of it.
"""
