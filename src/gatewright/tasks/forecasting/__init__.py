"""Forecasts of a series: recipe, network, intervals, and answers."""
