"""Where training runs, and in which precision."""

from contextlib import AbstractContextManager
from typing import TypeVar

import torch
from torch import nn

from shared.cores import count_cores
from trainer.errors import DeviceError

Network = TypeVar("Network", bound=nn.Module)


def pick_device(name: str) -> torch.device:
    """``auto``, ``cpu`` or ``cuda``. Raises DeviceError for a CUDA that is not there."""
    if name == "cuda" and not torch.cuda.is_available():
        raise DeviceError("There is no CUDA device here. Use --device cpu, or auto to take what there is.")
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "cpu"
    return torch.device(name)


def limit_threads() -> None:
    """Let torch use no more cores than this process may: of itself it does not know a container's quota."""
    torch.set_num_threads(min(torch.get_num_threads(), count_cores()))


def has_bfloat16(device: torch.device) -> bool:
    """Whether the device multiplies bfloat16 in hardware: elsewhere it would be slower, not faster."""
    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported())
    cpu = torch.backends.cpu.get_cpu_capability()
    return cpu == "AVX512" and torch.cpu._is_avx512_bf16_supported()


def place(network: Network, device: torch.device, memory_format: torch.memory_format) -> Network:
    """Move a network to a device, its convolutions laid out in this way. In place; the network."""
    # Module.to takes a memory_format, and PyTorch's overloads of it do not name one.
    placed: Network = network.to(device=device, memory_format=memory_format)  # type: ignore[call-overload]
    return placed


def autocast(device: torch.device, enabled: bool = True) -> AbstractContextManager[None]:
    """bfloat16 for convolutions and FC layers where it is `enabled` and the device has it, else nothing."""
    return torch.autocast(device.type, torch.bfloat16, enabled=enabled and has_bfloat16(device))
