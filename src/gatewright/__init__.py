"""Gated recurrent networks from their equations."""
