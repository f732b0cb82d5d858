"""Backends: each a table of rules over a Trace or a Program. None imports another."""
