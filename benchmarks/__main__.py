"""``python -m benchmarks``: how long a picture takes on this machine, beside the same of the release before.

Both releases run at once, each with its own bundles, and are asked in turns, so that a busy moment meets both. Networks
run in ONNX Runtime on the CPU as the service sets them up; endpoints are asked over real HTTP on the loopback, one
request after another. CPU times are of all threads of the process that answers. The pages are measured in a browser,
where there is a Chromium. An idle machine gives the best figures; ratios hold on a busy one too.
"""

import argparse
import os
import platform
import sys
import time
import warnings
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import numpy as np
from PIL import Image

from benchmarks.browser import MISSING, find_chromium
from benchmarks.checkouts import HERE, Checkout, check_out, find_release_before, start_checkout
from benchmarks.stream import draw_frames, encode_frames, write_clip
from service.inference.network import OnnxNetwork
from shared.bundle import OnnxFile, TensorSpec
from shared.pixels import PIXEL_RANGE

Kind = Literal["wall", "cpu"]

ROUNDS = 5
WARM_UP = 3
AUTHORS_POINTS, AUTHORS_SIZE = 68, 256
SCANNED, SCAN_SIZE = 50, (400, 300)  # frames of the clip that a training's scan goes through, and their pixels


@dataclass(frozen=True)
class Row:
    """One line: what it is, and its figure in each release; None where it was not measured."""

    name: str
    now: float | None
    before: float | None = None


def format_table(rows: Sequence[Row], before: str | None) -> str:
    """The rows, the release before beside this one where there is one."""
    width = max(len(row.name) for row in rows)
    heads = [f"{'':{width}}", f"{'now':>8}", *([f"{'before':>8}", "now/before"] if before else [])]
    lines = ["  ".join(heads)]
    for row in rows:
        cells = [f"{row.name:{width}}", _show(row.now)]
        if before:
            ratio = f"{row.now / row.before:10.2f}" if row.now and row.before else f"{'-':>10}"
            cells += [_show(row.before), ratio]
        lines.append("  ".join(cells))
    return "\n".join(lines)


def list_rows(now: Checkout, before: Checkout | None) -> list[Row]:
    """What was measured, each row's median."""

    both = [each for each in (now, before) if each is not None]

    def compare(name: str, row: str, kind: Kind = "wall") -> Row:
        return Row(name, *(summarise(each, row, kind) for each in both))

    def compare_to_generator(name: str, row: str, kind: Kind) -> Row:
        return Row(name, *(summarise(each, row, kind) / summarise(each, "generator", kind) for each in both))

    return [
        compare("landmarks of a tracked frame, 640x480, ms", "tracked"),
        compare("landmarks of a fresh picture, 256x256, ms", "fresh"),
        compare("generator, ms", "generator"),
        compare("converter, ms", "converter"),
        compare("/synthesize, ms", "/synthesize"),
        compare("/reenact, 256x256, ms", "/reenact"),
        Row("/stream, 640x480, frames a second", *(float(np.mean(each.stream)) for each in both)),
        compare("/stream, arrival to answer, ms", "/stream"),
        compare("/stream, CPU a frame, ms", "/stream", "cpu"),
        Row(
            "training's scan, 400x300, frames a second",
            *(1000 * SCANNED / summarise(each, "scan", "wall") for each in both),
        ),
        compare("CPU of the generator, ms", "generator", "cpu"),
        compare("CPU of /synthesize, ms", "/synthesize", "cpu"),
        compare_to_generator("/synthesize over the generator", "/synthesize", "wall"),
        compare_to_generator("CPU of /synthesize over the generator's", "/synthesize", "cpu"),
        Row("editor, pointer to painted picture, ms", *(summarise_pointer(each) for each in both)),
        Row("/live beside a camera, pictures a second", *(each.live for each in both)),
    ]


def summarise(checkout: Checkout, row: str, kind: Kind) -> float:
    """A row's median time, or the median of its rounds' CPU times a call."""
    samples = checkout.wall if kind == "wall" else checkout.cpu
    return float(np.median(samples[row]))


def summarise_pointer(checkout: Checkout) -> float | None:
    """None where there was no browser."""
    return summarise(checkout, "pointer", "wall") if checkout.wall["pointer"] else None


def time_authors(runs: int, threads: int) -> float | None:
    """Milliseconds of the authors' TL2F with random weights; None without the trainer extra.

    136 -> 1024 -> 4x4x1024, blocks of 512/256/128/128/128/64 channels.
    """
    try:
        import torch

        from trainer.networks.paper_generator import PaperGenerator, PaperGeneratorConfig
    except ImportError:
        return None
    points = torch.rand(1, AUTHORS_POINTS, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter's own deprecations
        program = torch.onnx.export(
            PaperGenerator(PaperGeneratorConfig(points=AUTHORS_POINTS)).eval(),
            (points,),
            input_names=["landmarks"],
            output_names=["image"],
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    low, high = PIXEL_RANGE
    spec = OnnxFile(
        file="authors.onnx",
        sha256="0" * 64,  # never written, so there is nothing to compare it with
        input=TensorSpec(name="landmarks", shape=(1, AUTHORS_POINTS, 2), low=0, high=1),
        output=TensorSpec(name="image", shape=(1, 3, AUTHORS_SIZE, AUTHORS_SIZE), low=low, high=high),
    )
    network = OnnxNetwork(program.model_proto.SerializeToString(), spec, "cpu", threads)
    spent = []
    for _ in range(WARM_UP + runs):
        started = time.perf_counter()
        network.run(points.numpy())
        spent.append((time.perf_counter() - started) * 1000)
    return float(np.median(spent[WARM_UP:]))


def write_media(folder: Path, frames: Sequence[bytes], drawn: Sequence[Image.Image]) -> None:
    """What `benchmarks.networks` reads: the frames, and a clip of them for the scan."""
    for number, frame in enumerate(frames):
        (folder / f"{number:03}.jpg").write_bytes(frame)
    write_clip(folder / "clip.mp4", [frame.resize(SCAN_SIZE) for frame in drawn], SCANNED)


def name_processor() -> str:
    """The CPU's name, as far as the system tells."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        lines = []
    named = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or platform.machine()


def main() -> int:
    """Print the table. Returns the exit status: 1 where there is no such bundle to time."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--target", default="franck", help="target to time (default: franck)")
    parser.add_argument("--before", help="git revision to compare with (default: the newest tag before this one)")
    parser.add_argument("--runs", type=int, default=50, help="timed calls a row (default: 50)")
    parser.add_argument("--threads", type=int, default=os.cpu_count() or 1, help="CPU threads (default: all)")
    options = parser.parse_args()
    if options.runs < ROUNDS or options.threads < 1:
        parser.error(f"--runs must be at least {ROUNDS}, --threads at least 1")
    reference = HERE / "models" / options.target / "reference.jpg"
    if not reference.is_file():
        print(f"There is no bundle models/{options.target}; `make train` makes one.", file=sys.stderr)
        return 1
    before = options.before or find_release_before()
    print(f"{name_processor()}, {options.threads} of {os.cpu_count()} threads, {options.runs} runs a row")
    print(
        f"beside {before}" if before else "There is no tag before this revision: --before REVISION compares with one."
    )
    drawn = draw_frames(reference)
    frames = encode_frames(drawn)
    chromium = find_chromium()
    if chromium is None:
        print(f"The pages are left out. {MISSING}")
    with ExitStack() as stack:
        folder = Path(stack.enter_context(TemporaryDirectory(prefix="frames-")))
        write_media(folder, frames, drawn)
        codes = [HERE, *([stack.enter_context(check_out(before))] if before else [])]
        started = [stack.enter_context(start_checkout(code, options.target, options.threads, folder)) for code in codes]
        for number in range(ROUNDS):
            for checkout in started[:: 1 if number % 2 else -1]:
                checkout.time_networks(options.runs // ROUNDS)
                checkout.time_endpoints(options.runs // ROUNDS, frames)
        if chromium is not None:
            for checkout in started:
                checkout.time_pages(chromium, frames)
        rows = list_rows(started[0], started[1] if before else None)
    rows.append(Row("generator of the authors' widths, ms", time_authors(options.runs, options.threads)))
    print(f"load of the machine in the last minute {os.getloadavg()[0]:.1f}\n\n{format_table(rows, before)}")
    return 0


def _show(figure: float | None) -> str:
    return f"{'-':>8}" if figure is None else f"{figure:8.2f}"


if __name__ == "__main__":
    sys.exit(main())
