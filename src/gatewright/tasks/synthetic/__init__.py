"""Tasks whose data is made from a seed: addition and long lags."""
