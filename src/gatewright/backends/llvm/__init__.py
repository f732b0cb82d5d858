"""Compile Programs to machine code with LLVM: any cell, any vector width, no compiler on the user's machine."""
