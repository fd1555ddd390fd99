"""Bundle to HTTP: a FastAPI application, made by `service.app.create_app`; and `load`, the same without HTTP."""

import os
from typing import TYPE_CHECKING, Any

# Before numpy is first imported: the products of matrices here are small, and threads that wait for cores which ONNX
# Runtime holds made a watermark of half a millisecond take thirteen.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

from shared import __version__ as __version__  # and so telemetry is off before any module of ours imports onnxruntime

if TYPE_CHECKING:
    from service.client import connect as connect
    from service.client import load as load


def __getattr__(name: str) -> Any:
    """`load` and `connect`, imported when they are asked for: a setting or an error needs no ONNX Runtime."""
    if name not in ("connect", "load"):
        raise AttributeError(f"module 'service' has no attribute '{name}'")
    from service import client

    return getattr(client, name)
