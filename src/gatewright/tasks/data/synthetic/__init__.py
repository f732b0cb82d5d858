"""Made-up tasks with a known answer for every example."""
