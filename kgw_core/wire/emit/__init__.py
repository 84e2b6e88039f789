"""Writes the codecs: straight-line Python for one message, one version, one direction.

`plan` reads a class's SCHEMA and says what one version looks like; `decoding` and `encoding` write the
source of a function from a plan; `compiling` turns source into functions.
"""
