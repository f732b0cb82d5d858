"""One step of a stack of cells in plain C: a .h and a .c file without allocation, for any cell."""
