"""Labelled sounds: recipe, answers and a baseline."""
