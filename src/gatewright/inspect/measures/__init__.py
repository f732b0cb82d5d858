"""Numbers about what units do: how much they vary, how often they are saturated, how long they remember."""
