"""How fast exported C code is, how large, and what weights of eight bits cost."""
