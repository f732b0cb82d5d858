"""Series to forecast: read from tables, cut into windows, and forecast linearly."""
