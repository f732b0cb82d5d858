"""Run Programs on a GPU with Triton: any cell, no CUDA toolkit on the user's machine. Only the loop's kernels are our
own; large products before and after it are torch's."""
