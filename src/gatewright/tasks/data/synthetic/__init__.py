"""Made-up tasks, in which every answer is known."""
