"""Bundle to HTTP: a FastAPI application, made by `service.app.create_app`."""

import shared  # noqa: F401 - turns telemetry off before any module of ours imports onnxruntime

__version__ = "0.1.0"
