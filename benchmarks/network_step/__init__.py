"""Whole training steps of small networks: Gatewright beside torch.nn, torch.compile and JAX."""
