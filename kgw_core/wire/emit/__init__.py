"""Writes the codecs: straight-line Python for one message, one version, one direction.

`decoding` and `encoding` write the source of a function from a plan (:mod:`kgw_core.wire.plan`). `compiling`
turns the source into a function.
"""
