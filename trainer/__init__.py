"""From a person's video to a bundle that the service can serve: prepare, train, evaluate, export."""

import shared  # noqa: F401 - turns telemetry off before any module of ours imports onnxruntime
