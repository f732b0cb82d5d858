"""The engine in graphs of torch.compile, torch.export, torch.jit.trace and torch.onnx.export."""
