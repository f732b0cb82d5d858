"""A Program as kernels: packed panels, register tiles, stages, passes and sums."""
