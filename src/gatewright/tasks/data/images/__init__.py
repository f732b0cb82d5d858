"""Images with labels, read as sequences."""
