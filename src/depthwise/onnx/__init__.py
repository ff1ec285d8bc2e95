"""ONNX: files read into a `network` graph, and ONNX Runtime for what no kernel computes."""
