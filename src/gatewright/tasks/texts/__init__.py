"""Labelled texts: recipe and network of their classes."""
