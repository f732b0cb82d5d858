"""Networks as ONNX graphs: one rule for each part, for conversion and export."""
