"""ONNX Runtime must not report to its makers: neither a device id nor the thread that looks the host up appears."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

# Python's own thread is the only one: the networks run in it, and whatever would upload has one of its own.
PROGRAM = """
import importlib, os, sys
importlib.import_module(sys.argv[1])
import onnxruntime
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = 1
session = onnxruntime.InferenceSession("models/franck/converter.onnx", options)
print(os.environ.get("ORT_DISABLE_TELEMETRY"), len(os.listdir("/proc/self/task")))
"""


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="threads are counted in /proc, which Linux has")
@pytest.mark.parametrize(
    "module", ["shared", "shared.detectors.mesh", "service.app", "trainer.export.bundle", "benchmarks.browser"]
)
def test_no_telemetry(module: str, tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DISABLE_TELEMETRY"}
    environment |= {"HOME": str(tmp_path), "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    ended = subprocess.run(
        [sys.executable, "-c", PROGRAM, module], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    disabled, threads = ended.stdout.split()
    assert disabled == "1"
    assert int(threads) == 1
    assert not (tmp_path / ".cache" / "Microsoft").exists()


def test_it_is_off_in_this_test_run() -> None:
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize("dockerfile", ["Dockerfile", "docker/trainer.Dockerfile"])
def test_it_is_off_in_the_images(dockerfile: str) -> None:
    lines = (ROOT / dockerfile).read_text().splitlines()
    assert any(line.startswith("ENV ") and "ORT_DISABLE_TELEMETRY=1" in line for line in lines)
