"""Detectors run where the networks do: on CUDA where it is asked for and there."""

from pathlib import Path
from typing import Any

import onnxruntime
import pytest

from shared.detectors import load_detector

MODELS = Path(__file__).parents[3] / "models"
BOTH = ["CUDAExecutionProvider", "CPUExecutionProvider"]


@pytest.mark.parametrize("name", ["mesh", "hourglass"])
@pytest.mark.parametrize(("device", "available"), [("cpu", BOTH), ("cuda", BOTH), ("cuda", BOTH[1:])])
def test_every_network_is_opened_on_the_device(
    monkeypatch: pytest.MonkeyPatch, name: str, device: str, available: list[str]
) -> None:
    opened = []
    real = onnxruntime.InferenceSession

    def open_on_cpu(path: Path, options: Any, providers: list[str]) -> Any:
        opened.append(providers)
        return real(path, options, providers=["CPUExecutionProvider"])

    monkeypatch.setattr(onnxruntime, "get_available_providers", lambda: available)
    monkeypatch.setattr(onnxruntime, "InferenceSession", open_on_cpu)
    load_detector(name, MODELS, 1, device)
    assert len(opened) == {"mesh": 3, "hourglass": 2}[name]
    assert all(each == (available if device == "cuda" else BOTH[1:]) for each in opened)
