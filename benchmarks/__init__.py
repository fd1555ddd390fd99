"""Times on this machine: ``python -m benchmarks``."""

import service  # noqa: F401 - sets what must be set before numpy and onnxruntime are first imported
