"""Batches that a network is trained on, in orders that can be resumed."""
