"""Texts as characters, words or n-grams, with labels or without."""
