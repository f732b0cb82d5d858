"""LLVM IR: vectors, arithmetic, memory, loops and branches, and a rule for every op."""
