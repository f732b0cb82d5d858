"""Kernels on arrays: engines, buffers, command lists."""
