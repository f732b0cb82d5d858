"""ONNX: graphs of a layer, by the operator that ONNX has for its cell, or by a Scan with the cell's equations."""
