"""PyTorch layers: any cell as a layer, drop-ins for torch.nn's, heads, pooling and initialisers."""
