"""One call of a layer: its arguments, the path that serves it, and the loop over levels and directions."""
