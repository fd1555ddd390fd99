"""Third-party networks to ONNX, once."""
