"""Networks from files of TFLite, written as models of ONNX: needs the extra `tflite`."""
