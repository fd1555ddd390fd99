"""Loaded before any test module, so that none imports onnxruntime with its telemetry on."""

import shared  # noqa: F401
