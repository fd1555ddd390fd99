"""Networks in ONNX Runtime: opened from bytes alone, on the device that is named."""

import tempfile
import time
from typing import Protocol

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from shared.bundle import OnnxFile, TensorSpec
from shared.devices import GPU_PROVIDER, list_providers
from shared.errors import BundleError

TIMED_RUNS, LEAST_GAIN = 8, 1.25


class Network(Protocol):
    """What a target needs of a runtime: one float32 array in, one out."""

    providers: tuple[str, ...]
    threads: int

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output for a batch of its inputs."""


class OnnxNetwork:
    """One ONNX file in ONNX Runtime, checked against its entry in the manifest."""

    def __init__(self, data: bytes, spec: OnnxFile, device: str, threads: int) -> None:
        """Raises BundleError where the bytes are no whole network of the declared names, types and shapes."""
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        options.add_session_config_entry("session.load_model_format", "ONNX")
        try:
            # A model may keep its weights in other files, which ONNX Runtime would look for in the working directory:
            # it is sent to an empty folder, so that nothing but the bytes that were hashed is ever read.
            with tempfile.TemporaryDirectory() as empty:
                options.add_session_config_entry("session.model_external_initializers_file_folder_path", empty)
                self._session = ort.InferenceSession(data, options, list_providers(device))
        except Exception as error:
            reason = str(error).splitlines()[0]
            raise BundleError(f"{spec.file}: ONNX Runtime can't open it: {reason}") from error
        _check_tensors(spec.file, "input", self._session.get_inputs(), spec.input)
        _check_tensors(spec.file, "output", self._session.get_outputs(), spec.output)
        self._input, self._output = spec.input.name, spec.output.name
        self.providers: tuple[str, ...] = tuple(self._session.get_providers())
        self.threads = threads

    def run(self, batch: NDArray[np.float32]) -> NDArray[np.float32]:
        """The network's output for a batch of its inputs."""
        output: NDArray[np.float32] = self._session.run([self._output], {self._input: batch})[0]
        return output


def open_shared(data: bytes, spec: OnnxFile, device: str, threads: int, batch: NDArray[np.float32]) -> OnnxNetwork:
    """The network with so many CPU threads where these make it faster by `LEAST_GAIN`, else with one.

    A network of many small steps gains little, and a thread less is one more for other work. Timed on a `batch` of its
    inputs. Raises BundleError, as `OnnxNetwork` does.
    """
    alone = OnnxNetwork(data, spec, device, threads=1)
    if threads == 1 or device == "cuda":
        return alone
    shared = OnnxNetwork(data, spec, device, threads)
    spent: dict[OnnxNetwork, list[float]] = {alone: [], shared: []}
    try:
        for _ in range(TIMED_RUNS):
            for network, times in spent.items():
                started = time.perf_counter()
                network.run(batch)
                times.append(time.perf_counter() - started)
    except Exception:  # whoever opened it runs it, and says what is wrong
        return alone
    return shared if min(spent[shared]) * LEAST_GAIN < min(spent[alone]) else alone


def load_cuda_libraries() -> None:
    """Load CUDA and cuDNN from the wheels of `onnxruntime-gpu[cuda,cudnn]`: the dynamic loader does not look there."""
    preload = getattr(ort, "preload_dlls", None)  # since ONNX Runtime 1.21
    if preload is not None and GPU_PROVIDER in ort.get_available_providers():
        preload()


def _check_tensors(file: str, side: str, found: list[ort.NodeArg], spec: TensorSpec) -> None:
    if len(found) != 1:
        raise BundleError(f"{file} has {len(found)} {side}s; expected one, '{spec.name}'.")
    tensor = found[0]
    if tensor.name != spec.name or tensor.type != "tensor(float)":
        raise BundleError(f"{file}: {side} is '{tensor.name}', {tensor.type}; expected '{spec.name}', tensor(float).")
    shape = tuple(size if isinstance(size, int) else None for size in tensor.shape)
    if shape != spec.shape:
        raise BundleError(f"{file}: {side} has the shape {shape}; the manifest says {spec.shape}.")
