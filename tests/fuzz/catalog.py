"""All classes of bad input, in the order in which they are tried."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from tests.fuzz import batches, bodies, bombs, crowds, frames, many, message_sets
from tests.fuzz.attack import Attack

CLASSES: Mapping[str, Callable[[Attack], None]] = {
    "random bytes": frames.random_bytes,
    "half frames": frames.half_frames,
    "lengths 0, negative, 2^31-1": frames.wrong_lengths,
    "slow trickles": frames.slow_trickles,
    "unknown keys and versions": frames.unknown_apis,
    "half-close": frames.half_close,
    "odd but valid requests": bodies.valid,
    "mutated bodies": bodies.mutated,
    "huge array counts": bodies.huge_counts,
    "invalid UTF-8": bodies.invalid_text,
    "tagged-field abuse": bodies.tagged_fields,
    "corrupt batches": batches.corrupt_batches,
    "kinds of corrupt batches": batches.known_kinds,
    "batches with flipped bytes": batches.random_batches,
    "corrupt message sets v0, v1": message_sets.corrupt_sets,
    "message sets with flipped bytes": message_sets.random_sets,
    "bombs in batches": bombs.in_batches,
    "bombs in message sets": bombs.in_message_sets,
    "bombs from 16 connections": bombs.many_at_once,
    "requests of many entries": many.entries,
    "the same from 12 connections": many.entries_from_many,
    "more entries than allowed": many.entries_over_the_limit,
    "batches of 2 million records": many.records,
    "500,000 records, 8 connections": many.records_within_the_limit,
    "old message sets, pipelined": crowds.slow_store_of_requests,
    "10,000 pipelined, unread": crowds.pipelined_unread,
    "large answers, unread": crowds.large_answers_unread,
    "claims of 100 MB": crowds.claimed_memory,
    "100 MB held back, 30 times": many.large_frames_held_back,
    "1,000 idle connections": crowds.idle_connections,
    "1,000 connects and closes": crowds.connects_and_closes,
    "slow-loris": frames.slow_loris,
}
