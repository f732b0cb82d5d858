"""From LLVM IR to functions that can be called: targets, machine code, and the cache of kernels on disk."""
