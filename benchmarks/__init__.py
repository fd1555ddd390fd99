"""Times on this machine: ``python -m benchmarks``."""

import shared  # noqa: F401 - turns telemetry off before any module of ours imports onnxruntime
