"""Ablations: whole trainings from scratch, one thing changed in each, measured on the validation block.

The test block is not looked at: what is chosen by these figures can still be tested there.
"""

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import nn

from shared.detectors import load_detector
from shared.expression import measure_expression
from shared.pixels import from_network
from trainer.config import PRESETS, TrainingConfig, change_config
from trainer.data.dataset import FrameDataset
from trainer.errors import ConfigError
from trainer.evaluation.face_analyzer import DETECTOR, LocalFaceAnalyzer
from trainer.evaluation.intervals import correlate_ranks
from trainer.evaluation.metrics import compare_pictures, measure_landmark_error
from trainer.evaluation.report import write_text
from trainer.loops.target import find_identities, learn_converter, learn_target
from trainer.networks.converter import Converter

PAPER_SECONDS = "paper, same minutes"

ROWS: Mapping[str, Sequence[str]] = {
    "default": (),
    "without gradient difference": ("generator.gradient=0",),
    "without sharpness difference": ("generator.sharpness=0",),
    "without L2I-gan": ("generator.l2i_gan=0",),
    "D sees no landmarks": ("generator.discriminator.conditioned=false",),
    "without I2L": ("generator.i2l=0",),
    "I2L by Omega": ("generator.detector=hourglass",),
    "even weights of pixels": ("generator.face_weight=1", "generator.feature_weight=1"),
    "frames drawn evenly": ("generator.rare=0",),
    "codes without noise": ("generator.network.code_noise=0",),
    PAPER_SECONDS: (),
}
"""What is changed in each row, as `--set` takes it."""

CONVERTER_ROWS: Mapping[str, Sequence[str]] = {
    "converter": (),
    "converter without transfer": ("converter.transfer=0",),
}
"""The same of the converter, which is measured by the landmarks that it makes of other people's."""

KEPT = ("mouth", "right_eye", "left_eye", "right_brow", "left_brow", "yaw", "pitch", "roll")
FIGURES = ("psnr", "psnr_box", "ssim_box", "sharpness", "landmark_error")


@dataclass(frozen=True)
class StudyFolders:
    """Where datasets, networks, checkpoints and results lie."""

    data: Path
    models: Path
    runs: Path
    out: Path


def study(target: str, config: TrainingConfig, chosen: Sequence[str], every: int, folders: StudyFolders) -> None:
    """Train and measure each row; those measured before are kept. Raises ConfigError for a row that there is not."""
    known = [*ROWS, *CONVERTER_ROWS]
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise ConfigError(f"There is no row {', '.join(unknown)} in the study; there are: {', '.join(known)}.")
    folders.out.mkdir(parents=True, exist_ok=True)
    path = folders.out / f"{target}.json"
    measured: dict[str, dict[str, float]] = json.loads(path.read_text()) if path.exists() else {}
    for name in chosen or known:
        if name in measured:
            continue
        if name in CONVERTER_ROWS:
            changed = change_config(config, CONVERTER_ROWS[name])
            converter = learn_converter(target, changed, folders.data, folders.runs / "study", folders.models)
            measured[name] = measure_converter(converter, target, folders.data)
            write_text(path, json.dumps(measured, indent=1) + "\n")
            write_text(folders.out / "README.md", format_rows(target, measured))
            continue
        changed, seconds = change_config(config, ROWS[name]), None
        if name == PAPER_SECONDS:
            if "default" not in measured:
                raise ConfigError("The paper's row has the default's time: measure the row default first.")
            changed, seconds = PRESETS["paper"], measured["default"]["seconds"]
        started = time.monotonic()
        theta, steps, spent = learn_target(
            target, changed, folders.data, folders.runs / "study" / name.replace(" ", "-"), folders.models, seconds
        )
        print(f"{name}: {steps} steps in {spent:.0f} s of {time.monotonic() - started:.0f}")
        figures = measure_network(theta, FrameDataset(folders.data / target), folders.models, every)
        measured[name] = {**figures, "steps": steps, "seconds": spent}
        write_text(path, json.dumps(measured, indent=1) + "\n")
        write_text(folders.out / "README.md", format_rows(target, measured))


@torch.no_grad()
def measure_network(theta: nn.Module, dataset: FrameDataset, models: Path, every: int) -> dict[str, float]:
    """Means over one validation frame in `every` of what `FIGURES` names; the landmarks found again are `mesh`'s."""
    analyzer = LocalFaceAnalyzer(load_detector(DETECTOR, models), None)
    landmarks, crops = dataset.landmarks("validation")[::every], dataset.crops("validation")[::every]
    rows = []
    for points, real in zip(landmarks, crops, strict=True):
        made = from_network(theta(torch.from_numpy(points)[None]).numpy())[0]
        row = compare_pictures(made, real, points)
        found = analyzer.look(made).landmarks
        error = np.nan if found is None else measure_landmark_error(found, points, dataset.scheme)
        rows.append([row["psnr"], row["psnr_box"], row["ssim_box"], row["gradient_energy_box"], error])
    return dict(zip(FIGURES, np.nanmean(np.array(rows), axis=0).round(4).tolist(), strict=True))


@torch.no_grad()
def measure_converter(converter: Converter, target: str, data: Path) -> dict[str, float]:
    """How far each measure of an expression keeps its order from other people's validation frames to the target's.

    Spearman's rank correlation of each of `KEPT`, the mean over the other identities.
    """
    rows = []
    for name, dataset in find_identities(FrameDataset(data / target), data).items():
        landmarks = dataset.landmarks("validation")
        if name == target or not len(landmarks):
            continue
        given, made = (
            measure_expression(each, dataset.scheme)
            for each in (landmarks, converter(torch.from_numpy(landmarks)).numpy())
        )
        pairs = (np.stack([each[measure] for measure in KEPT]).astype(np.float64) for each in (given, made))
        rows.append(correlate_ranks(*pairs))
    return dict(zip(KEPT, np.mean(rows, axis=0).round(3).tolist(), strict=True))


def format_rows(target: str, measured: Mapping[str, Mapping[str, float]]) -> str:
    """The study's table in Markdown."""
    lines = [
        f"# Ablations on {target}\n",
        "Each row a training from scratch at the recipe's full length, seed 0, measured on the validation block by",
        f"`make study TARGET={target}`. Sharpness: gradient energy in the face's box over the real frame's.",
        "Landmark error: of what `mesh` finds again, in percent of the distance of the eyes' outer corners.\n",
        "| | PSNR | in the box | SSIM in the box | sharpness | landmark error | steps | minutes |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name, row in measured.items():
        if name in CONVERTER_ROWS:
            continue
        cells = [f"{row['psnr']:.2f}", f"{row['psnr_box']:.2f}", f"{row['ssim_box']:.3f}", f"{row['sharpness']:.2f}"]
        cells += [f"{row['landmark_error']:.2f}", f"{row['steps']:.0f}", f"{row['seconds'] / 60:.1f}"]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    converters = [name for name in CONVERTER_ROWS if name in measured]
    if converters:
        lines += [
            "\nThe converter, on other identities' validation frames: rank correlation of driver and converted.\n",
            f"| | {' | '.join(name.replace('_', ' ') for name in KEPT)} |",
            f"| --- |{' --- |' * len(KEPT)}",
        ]
    for name in converters:
        lines.append(f"| {name} | {' | '.join(f'{measured[name][measure]:.2f}' for measure in KEPT)} |")
    return "\n".join(lines) + "\n"
