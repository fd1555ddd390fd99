"""The contract between trainer and service: landmarks, crop, pixels, detectors, bundle. Never imports torch."""

import os

__version__ = "0.2.0"

# ONNX Runtime's wheels look up and report to a telemetry host unless this is set before they are first imported:
# `disable_telemetry_events()` comes too late. The other packages import this one first, in their `__init__`.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
