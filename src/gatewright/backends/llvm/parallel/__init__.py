"""Parallel execution: regions of threads and their barriers, and how work is partitioned among them."""
