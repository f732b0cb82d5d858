"""Labelled time series: recipe and network of their classes or numbers."""
