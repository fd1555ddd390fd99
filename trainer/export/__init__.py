"""Trained networks to ONNX bundles, compared with PyTorch before they are published."""
