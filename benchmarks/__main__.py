"""``python -m benchmarks``: the generator, the detector and the endpoints, timed on this machine.

The networks run in ONNX Runtime on the CPU as the service sets it up; the endpoints are asked over real HTTP on the
loopback, one request after another, of a service in its own process.
"""

import argparse
import os
import platform
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx
import numpy as np

from service.inference.bundles import BundleFolder, Target
from service.inference.network import OnnxNetwork
from service.lifecycle import load_service_detector
from service.media.images import decode_picture
from service.settings import Settings
from shared.bundle import OnnxFile, TensorSpec
from shared.detectors import LandmarkDetector
from shared.pixels import PIXEL_RANGE, Image8
from trainer.evaluation.served_faces import serve

WARM_UP = 3
AUTHORS = "TL2F, the authors' widths"
AUTHORS_POINTS, AUTHORS_SIZE = 68, 256


@dataclass(frozen=True)
class Timing:
    """One row: milliseconds, or the `reason` why it was not measured."""

    name: str
    median: float | None = None
    p95: float | None = None
    reason: str = ""


def time_call(name: str, call: Callable[[], object], runs: int) -> Timing:
    """Median and 95th percentile of `runs` calls, after a few that don't count."""
    for _ in range(WARM_UP):
        call()
    spent = np.empty(runs)
    for index in range(runs):
        started = time.perf_counter()
        call()
        spent[index] = (time.perf_counter() - started) * 1000
    return Timing(name, float(np.median(spent)), float(np.percentile(spent, 95)))


def format_table(rows: Sequence[Timing], baseline: Timing) -> str:
    """The rows with their times, and how many of each fit into the baseline's time."""
    width = max(len(row.name) for row in rows)
    lines = [f"{'':{width}}  median ms   p95 ms  of the authors' time"]
    for row in rows:
        if row.median is None:
            lines.append(f"{row.name:{width}}  not measured: {row.reason}")
            continue
        ratio = f"1/{baseline.median / row.median:.1f}" if baseline.median else "-"
        lines.append(f"{row.name:{width}}  {row.median:9.1f}  {row.p95:7.1f}  {ratio}")
    return "\n".join(lines)


def time_target(target: Target, runs: int) -> list[Timing]:
    """A target's converter and TL2F, one face a call."""
    neutral = np.array(target.manifest.neutral, np.float32)[None]  # (1, N, 2)
    name, size = target.manifest.target, target.manifest.image_size
    return [
        time_call(f"TL2F {name}, {size}x{size}", lambda: target.tl2f.run(neutral), runs),
        time_call(f"converter {name}", lambda: target.converter.run(neutral), runs),
    ]


def time_authors(runs: int, threads: int) -> Timing:
    """The authors' TL2F, 136 -> 1024 -> 4x4x1024, blocks of 512/256/128/128/128/64 channels, with random weights."""
    try:
        import torch

        from trainer.networks.paper_generator import PaperGenerator, PaperGeneratorConfig
    except ImportError:
        return Timing(AUTHORS, reason="trainer extra missing")
    config = PaperGeneratorConfig(points=AUTHORS_POINTS)
    points = torch.rand(1, AUTHORS_POINTS, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            PaperGenerator(config).eval(),
            (points,),
            input_names=["landmarks"],
            output_names=["image"],
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    spec = OnnxFile(
        file="authors.onnx",
        sha256="0" * 64,  # never written, so there is nothing to compare it with
        input=TensorSpec(name="landmarks", shape=(1, AUTHORS_POINTS, 2), low=0, high=1),
        output=TensorSpec(
            name="image", shape=(1, 3, AUTHORS_SIZE, AUTHORS_SIZE), low=PIXEL_RANGE[0], high=PIXEL_RANGE[1]
        ),
    )
    network = OnnxNetwork(program.model_proto.SerializeToString(), spec, "cpu", threads)
    return time_call(AUTHORS, lambda: network.run(points.numpy()), runs)


def time_detector(detector: LandmarkDetector | None, image: Image8, runs: int) -> Timing:
    """The landmark detector on one picture."""
    name = f"detector, {image.shape[1]}x{image.shape[0]}"
    if detector is None:
        return Timing(name, reason="no landmark detector could be loaded")
    return time_call(name, lambda: detector.detect(image), runs)


def time_endpoints(client: httpx.Client, target: Target, runs: int) -> list[Timing]:
    """/synthesize of the target's neutral face and /reenact of its reference picture, as JPEG."""
    name = target.manifest.target
    order = {"target": name, "landmarks": [list(point) for point in target.manifest.neutral]}
    picture = {"image": (target.manifest.reference.file, target.reference, target.reference_type)}
    return [
        time_call(f"/synthesize {name}", lambda: client.post("/synthesize", json=order).raise_for_status(), runs),
        time_call(
            f"/reenact {name}",
            lambda: client.post("/reenact", files=picture, data={"target": name}).raise_for_status(),
            runs,
        ),
    ]


def name_processor() -> str:
    """The CPU's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def main() -> int:
    """Print the table. Returns the exit status: 1 where there is no bundle to time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--models", type=Path, default=Path("models"), help="folder of bundles (default: models)")
    parser.add_argument("--runs", type=int, default=50, help="timed calls a row (default: 50)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all)")
    options = parser.parse_args()
    if options.runs < 1 or options.threads < 1:
        parser.error("--runs and --threads must be at least 1")

    catalogue = BundleFolder(options.models, "cpu", options.threads).scan()
    if not catalogue.targets:
        print(f"There is no bundle to time in {options.models}; `make train` makes one.", file=sys.stderr)
        return 1
    settings = Settings(models_dir=options.models, threads=options.threads)
    detector = load_service_detector(settings)
    print(f"{name_processor()}, {options.threads} of {os.cpu_count()} threads, {options.runs} runs a row\n")

    authors = time_authors(options.runs, options.threads)
    targets = list(catalogue.targets.values())
    rows = [authors, *(row for target in targets for row in time_target(target, options.runs))]
    picture = decode_picture(targets[0].reference, settings.max_pixels)
    rows.append(time_detector(detector, picture, options.runs))
    if detector is not None:
        with serve(options.models, options.threads) as served:
            rows += [row for target in targets for row in time_endpoints(served.client, target, options.runs)]
    print(format_table(rows, authors))
    return 0


if __name__ == "__main__":
    sys.exit(main())
