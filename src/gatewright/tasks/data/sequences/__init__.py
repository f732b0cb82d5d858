"""Labelled time series: every usual form of file, and the linear model that a network is compared with."""
