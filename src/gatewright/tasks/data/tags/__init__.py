"""Sequences with a label for each step: tagged tokens, and recordings with a class for each moment."""
