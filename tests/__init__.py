"""The tests: the tree of `src`, and parity, properties, golden, errors, architecture and meta."""
