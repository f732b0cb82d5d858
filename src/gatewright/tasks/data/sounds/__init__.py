"""Labelled sounds, and the log-mel features that a network reads of them."""
