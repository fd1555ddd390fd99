"""Bundle to HTTP: a FastAPI application, made by `service.app.create_app`."""

import os

# Before numpy is first imported: the products of matrices here are small, and threads that wait for cores which ONNX
# Runtime holds made a watermark of half a millisecond take thirteen.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import shared  # noqa: F401 - turns telemetry off before any module of ours imports onnxruntime

__version__ = "0.1.0"
