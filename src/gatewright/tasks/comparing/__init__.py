"""Several cells on the same task: their runs, a table and pictures."""
