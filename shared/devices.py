"""Where ONNX Runtime runs a network: on the device named, or on the CPU where that is not there."""

from typing import Final

import onnxruntime as ort

GPU_PROVIDER: Final = "CUDAExecutionProvider"
CPU_PROVIDER: Final = "CPUExecutionProvider"


def list_providers(device: str) -> list[str]:
    """The providers to open a session with, best first; `device` is "cpu" or "cuda". The CPU is always among them."""
    wanted = [GPU_PROVIDER, CPU_PROVIDER] if device == "cuda" else [CPU_PROVIDER]
    available = ort.get_available_providers()
    return [name for name in wanted if name in available]
