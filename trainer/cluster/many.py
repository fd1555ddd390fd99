"""Many targets, each trained by one worker of a cluster: what is done stays done, what fails says why.

Of each target ``runs/many/<target>/outcome.json`` is the record, and ``runs/many/README.md`` tells of all.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnxruntime as ort
from pydantic import BaseModel, ValidationError

from shared.bundle import load_bundle
from shared.documents import write_document
from shared.errors import BundleError, LandmarkGANError
from shared.pixels import from_network
from shared.ray_session import join_ray
from trainer.cluster.target_list import Row, read_rows
from trainer.data.dataset import QUICK_SUFFIX, FrameDataset, list_datasets
from trainer.data.sample_media import SAMPLES
from trainer.evaluation.metrics import compare_pictures
from trainer.evaluation.report import write_text

FIGURES = ("psnr", "psnr_box", "ssim_box")
MOST_FRAMES = 40  # of the validation block, for the report
ENDS = 1 << 20  # bytes of a media file's head and tail that tell it from others
MOST_LOSSES = 3  # of the workers that have a target
OUTCOME = "outcome.json"


class Outcome(BaseModel):
    """What became of a target. `made_from` tells whether it would be trained from the same again."""

    target: str
    made_from: str
    state: Literal["done", "failed"]
    why: str | None = None
    bundle: str | None = None
    seconds: float = 0.0
    figures: dict[str, float] = {}


def train_many(options: argparse.Namespace) -> str:
    """Train what is not done yet, `options.workers` at once; the report. Raises ManifestError."""
    rows, common = read_rows(options.manifest), list_common(options)
    folders = {name: getattr(options, name).resolve() for name in ("data_dir", "runs_dir", "models_dir")}
    runs = folders["runs_dir"] / "many"
    prints = {row.target: fingerprint(row, common, folders["data_dir"]) for row in rows}
    waiting = [row for row in rows if not is_settled(row.target, prints[row.target], folders, options)]
    print(f"{len(rows)} targets, {len(waiting)} to be trained.", flush=True)
    if waiting:
        with join_ray(options.address, {}, options.workers * options.cpus):
            import ray
            from ray.exceptions import RayError

            train: Any = ray.remote(num_cpus=options.cpus, max_retries=MOST_LOSSES)(train_row)
            begun = {train.remote(row, common, folders): row.target for row in waiting}
            while begun:
                (ended, *_), _ = ray.wait(list(begun))
                target = begun.pop(ended)
                try:
                    told = ray.get(ended)
                except RayError as error:
                    told = {"state": "failed", "why": f"Its workers were lost: {str(error).splitlines()[0]}"}
                found = Outcome.model_validate({"target": target, "made_from": prints[target], **told})
                (runs / target).mkdir(parents=True, exist_ok=True)
                write_document(found, runs / target / OUTCOME)
                print(f"{target}: {found.state}{f': {found.why}' if found.why else ''}", flush=True)
    outcomes = [outcome for row in rows if (outcome := read_outcome(runs / row.target)) is not None]
    report = format_report(outcomes)
    write_text(runs / "README.md", report)
    return report


def train_row(row: Row, common: Sequence[str], folders: Mapping[str, Path]) -> dict[str, Any]:
    """In a worker: the training of ``make train``, then its figures on the validation block."""
    from trainer.cli.main import build_parser, run_train

    started = time.monotonic()
    data, runs = folders["data_dir"] / "many" / row.target, folders["runs_dir"] / "many" / row.target
    link_data(row.target, folders["data_dir"], data)
    places = ["--data-dir", str(data), "--runs-dir", str(runs), "--models-dir", str(folders["models_dir"])]
    try:
        options = build_parser().parse_args(["train", *row.to_arguments(), *places, *common])
        run_train(options)
        bundle = load_bundle(folders["models_dir"] / name_bundle(row.target, options.preset == "quick"))
        figures = measure_bundle(bundle.files[bundle.manifest.tl2f.file], FrameDataset(data / row.target))
    except (Exception, SystemExit) as error:
        fault = "" if isinstance(error, LandmarkGANError) else f"A fault of the trainer: {type(error).__name__}: "
        return {"state": "failed", "why": f"{fault}{error}", "seconds": time.monotonic() - started}
    seconds = time.monotonic() - started
    return {"state": "done", "bundle": bundle.sha256, "seconds": seconds, "figures": figures}


def link_data(target: str, data_dir: Path, data: Path) -> None:
    """Give a target a data folder of its own, with what is there already of itself and of the samples.

    So it does not matter to a training which other targets are prepared meanwhile: one that begins anew goes on.
    """
    data.mkdir(parents=True, exist_ok=True)
    ready = [name for name in list_datasets(data_dir) if name == target or name in SAMPLES]
    for name in [*ready, *(["media"] if (data_dir / "media").is_dir() else [])]:
        if not (data / name).exists():
            (data / name).symlink_to(data_dir / name, target_is_directory=True)


def measure_bundle(network: bytes, dataset: FrameDataset) -> dict[str, float]:
    """Means over at most `MOST_FRAMES` validation frames; nothing where there are none."""
    landmarks, crops = dataset.landmarks("validation"), dataset.crops("validation")
    if not len(landmarks):
        return {}
    session = ort.InferenceSession(network, providers=["CPUExecutionProvider"])
    chosen = np.unique(np.linspace(0, len(landmarks) - 1, MOST_FRAMES).astype(int))
    rows = []
    for points, real in zip(landmarks[chosen], crops[chosen], strict=True):
        (made,) = session.run(None, {session.get_inputs()[0].name: points[None]})
        row = compare_pictures(from_network(made)[0], real, points)
        rows.append([row[name] for name in FIGURES])
    return dict(zip(FIGURES, np.mean(rows, axis=0).round(4).tolist(), strict=True))


def list_common(options: argparse.Namespace) -> list[str]:
    """What all trainings of the list have, as ``train`` takes it."""
    return [*(["--quick"] if options.quick else []), *(["--set", *options.set] if options.set else [])]


def fingerprint(row: Row, common: Sequence[str], data_dir: Path) -> str:
    """Changes with the line, the recipe and the media; of a large file its size, head and tail count."""
    media = row.list_media() or [data_dir / row.target / "dataset.json"]
    files = [file for each in media for file in (sorted(each.rglob("*")) if each.is_dir() else [each])]
    parts = [[file.name, hash_ends(file)] for file in files if file.is_file()]
    return hashlib.sha256(json.dumps([row.model_dump(), list(common), parts]).encode()).hexdigest()


def hash_ends(path: Path) -> str:
    """A hash of a file's size, head and tail."""
    size = path.stat().st_size
    with path.open("rb") as file:
        head = file.read(ENDS)
        file.seek(max(0, size - ENDS))
        return hashlib.sha256(str(size).encode() + head + file.read()).hexdigest()


def name_bundle(target: str, quick: bool) -> str:
    """The id of a target's bundle."""
    return target + QUICK_SUFFIX if quick else target


def read_outcome(folder: Path) -> Outcome | None:
    """What is recorded of a target; None where nothing is, or of another version."""
    try:
        return Outcome.model_validate_json((folder / OUTCOME).read_bytes())
    except (OSError, ValidationError):
        return None


def is_settled(target: str, made_from: str, folders: Mapping[str, Path], options: argparse.Namespace) -> bool:
    """Whether there is nothing to do: its bundle is there as it was made, or it failed and nothing changed since."""
    outcome = read_outcome(folders["runs_dir"] / "many" / target)
    if outcome is None or outcome.made_from != made_from:
        return False
    if outcome.state == "failed":
        return not options.again
    try:
        return load_bundle(folders["models_dir"] / name_bundle(target, options.quick)).sha256 == outcome.bundle
    except BundleError:
        return False


def format_report(outcomes: Sequence[Outcome]) -> str:
    """The table in Markdown, and what the figures are over all."""
    done = [each for each in outcomes if each.state == "done"]
    lines = [
        f"# {len(outcomes)} targets: {len(done)} done, {len(outcomes) - len(done)} failed\n",
        "Figures are the network's, on the validation block.\n",
        "| target | | PSNR | in the box | SSIM in the box | minutes | why |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for each in outcomes:
        why = " ".join((each.why or "").split()).replace("|", "/")
        lines.append(f"| {each.target} | {each.state} | {_show(each.figures)} | {each.seconds / 60:.1f} | {why} |")
    if measured := [each.figures for each in done if each.figures]:
        for title, pick in (("median", np.median), ("worst", np.min)):
            over_all = {name: float(pick([row[name] for row in measured])) for name in FIGURES}
            lines.append(f"| {title} | | {_show(over_all)} | | |")
    return "\n".join(lines) + "\n"


def _show(figures: Mapping[str, float]) -> str:
    if not figures:
        return "- | - | -"
    return f"{figures['psnr']:.2f} | {figures['psnr_box']:.2f} | {figures['ssim_box']:.3f}"
