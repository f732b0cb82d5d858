"""Tasks that are made, so that every answer is known."""
