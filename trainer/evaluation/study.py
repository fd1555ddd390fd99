"""Short trainings side by side: designs of Theta, terms of the loss left out, departures from the paper taken back.

``python -m trainer study designs``, ``study terms`` and ``study departures`` train every variant from the same start,
measure it on the test block, and write ``docs/study/<name>.json`` and the tables beside it. A variant that was measured
is not trained again, so that a study can be broken off.
"""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from scipy.stats import spearmanr
from torch import Tensor
from tqdm import tqdm

from shared.bundle import TensorSpec
from shared.expression import measure_expression
from shared.landmarks import Points, get_scheme
from shared.neutral import find_calm
from shared.pixels import Image8, from_network
from trainer.config import AUTHORS_TL2F, ConverterTraining, TL2FTraining, TrainingConfig
from trainer.data.dataset import FrameDataset
from trainer.errors import DatasetError
from trainer.evaluation.face_analyzer import FaceAnalyzer
from trainer.evaluation.metrics import compare_pictures
from trainer.evaluation.report import write_text
from trainer.evaluation.study_tables import Outcome, draw_curve, read_outcomes, write_tables
from trainer.export.bundle import export_network
from trainer.loops.target import TrainingRun, begin_as, prepare_run
from trainer.networks.discriminator import DiscriminatorConfig
from trainer.networks.tl2f import TL2F, TL2FConfig

PILOTS = (6, 18)
"""Steps of two short runs, by which the time of a step is told from that of a start."""
EXPRESSIONS = ("mouth", "right_eye", "left_eye", "right_brow", "left_brow", "yaw", "roll")

DESIGNS: Mapping[str, TL2FConfig] = {
    "slim": TL2FConfig(block_channels=(128, 96, 64, 32, 16)),
    "default": TL2FConfig(),
    "wide": TL2FConfig(block_channels=(192, 192, 128, 64, 32)),
    "wider": TL2FConfig(block_channels=(256, 256, 192, 96, 48)),
    "authors": AUTHORS_TL2F,
}
"""From half the default's time for a picture to the authors' size."""

Changes: TypeAlias = Mapping[str, Any]

TERMS: Mapping[str, Changes] = {
    "all terms": {},
    "without L2I": {"l2i": 0.0, "around": 0.0},
    "without I2L": {"i2l": 0.0},
    "without what the mesh sees": {"perceptual": 0.0, "seen": 0.0, "opening": 0.0},
    "without whose face it is": {"identity": 0.0},
    "without the face's likeness": {"likeness": 0.0},
    "without L2I-gan": {"l2i_gan": 0.0, "feature_matching": 0.0},
    "without feature matching": {"feature_matching": 0.0},
    "converter not trained on": {"converter_learning_rate": 0.0},
    "no converted landmarks": {"converted": 0},
}
"""Settings of `TL2FTraining` that take something away."""

CONVERTER_TERMS: Mapping[str, Changes] = {
    "all terms": {},
    "without L2L": {"l2l": 0.0},
    "without X-L2L": {"x_l2l": 0.0},
    "without transfer": {"transfer": 0.0},
}
"""The same of `ConverterTraining`."""

DEPARTURES: Mapping[str, Changes] = {
    "the default recipe": {},
    "no openings": {"opening": 0.0},
    "no points of the mesh": {"seen": 0.0},
    "no features of the mesh": {"perceptual": 0.0},
    "faces not recognized": {"identity": 0.0},
    "faces not compared": {"likeness": 0.0},
    "landmark terms change any pixel": {"landmark_reach": None},
    "bent frames labelled by the spline": {"relabel": False},
    "no bent frames": {"warped": 0.0},
    "other people as they are": {"reshaped": 0.0},
    "no rare frames": {"rare": 0.0},
    "eyes and lips weigh as the rest": {"detail_weight": 1.0, "feature_weight": 1.0},
    "not whitened": {"whiten": False},
    "jitter of 0.001": {"noise": 0.001},
    "no weight decay": {"weight_decay": 0.0},
    "no average of the weights": {"ema": 0.0},
    "L2I and D on the whole crop": {"gan_reach": None, "gan_window": 32},
    "D pulls at lips too": {"gan_lips": 1.0},
    "D's pull not blurred": {"gan_smooth": False},
    "logarithmic GAN loss": {"gan_loss": "log"},
    "D learns no faster than Theta": {"gan_pace": 1.0},
    "no spectral norm": {"discriminator": DiscriminatorConfig(spectral_norm=False)},
    "RMSProp": {"optimiser": "rmsprop"},
}
"""Settings of `TL2FTraining` that take back, one at a time, what the default recipe does otherwise than the paper."""


@dataclass(frozen=True)
class Bench:
    """What every variant is measured on."""

    course: TrainingRun
    driver: FrameDataset
    eyes: FaceAnalyzer
    reference: NDArray[np.float64] | None  # the target's face as the eyes describe it, where they do
    every: int
    weights: Mapping[str, Tensor] | None = None  # that a generator begins with, but in the study of designs


def study_designs(bench: Bench, minutes: float, out: Path, runs: Path) -> dict[str, Outcome]:
    """Train every design for so many minutes; its figures and the milliseconds of a picture."""
    authors = TL2F(AUTHORS_TL2F)
    base = bench.course.config.tl2f

    def run(name: str) -> Outcome:
        config = base.model_copy(update={"network": DESIGNS[name]})
        seconds = []
        for pilot in PILOTS:
            started = time.monotonic()
            bench.course.train_generator(config.model_copy(update={"steps": pilot}), runs / f"pilot-{pilot}-{name}")
            seconds.append(time.monotonic() - started)
        steps = count_steps(minutes * 60, PILOTS, seconds)
        outcome = _train(bench, config.model_copy(update={"steps": steps}), runs / f"design-{name}", None)
        ours, theirs = time_networks(TL2F(DESIGNS[name]), authors, runs)
        return outcome.model_copy(
            update={"figures": {**outcome.figures, "milliseconds": ours, "times_faster": theirs / ours}}
        )

    results = _run_all(DESIGNS, run, out / "designs.json")
    draw_curve(results, out / "designs.svg")
    return results


def count_steps(seconds: float, pilots: tuple[int, int], taken: Sequence[float]) -> int:
    """How many steps fill so many seconds, by the seconds that two runs of fewer and of more steps have taken."""
    each = (taken[1] - taken[0]) / (pilots[1] - pilots[0])
    return max(1, round((seconds - taken[0]) / each) + pilots[0]) if each > 0 else pilots[1]


def study_terms(bench: Bench, steps: int, out: Path, runs: Path) -> dict[str, Outcome]:
    """Train the generator for so many steps without each term in turn, and the converter for a quarter of its steps."""

    def run(name: str) -> Outcome:
        config = bench.course.config.converter
        changed = config.model_copy(update={"steps": config.steps // 4, **CONVERTER_TERMS[name]})
        return _train_converter(bench, changed, runs / f"converter-{name.replace(' ', '-')}")

    converters = _run_all(CONVERTER_TERMS, run, out / "converter_terms.json")
    results = _study_changes(bench, TERMS, steps, out / "terms.json", runs)
    return results | {f"converter, {name}": each for name, each in converters.items()}


def study_departures(bench: Bench, steps: int, out: Path, runs: Path) -> dict[str, Outcome]:
    """Train the generator for so many steps with each of `DEPARTURES` taken back."""
    return _study_changes(bench, DEPARTURES, steps, out / "departures.json", runs)


def _study_changes(
    bench: Bench, variants: Mapping[str, Changes], steps: int, path: Path, runs: Path
) -> dict[str, Outcome]:
    base = bench.course.config.tl2f.model_copy(update={"steps": steps})

    def run(name: str) -> Outcome:
        folder = runs / f"{path.stem}-{name.replace(' ', '-')}"
        return _train(bench, base.model_copy(update=dict(variants[name])), folder, bench.weights)

    return _run_all(variants, run, path)


def _run_all(names: Mapping[str, object], run: Callable[[str], Outcome], path: Path) -> dict[str, Outcome]:
    path.parent.mkdir(parents=True, exist_ok=True)
    results = read_outcomes(path) if path.exists() else {}
    for name in names:
        if name not in results:
            print(f"{path.stem}: {name}")
            results[name] = run(name)
            write_text(path, json.dumps({key: each.model_dump() for key, each in results.items()}, indent=2) + "\n")
            write_tables(path.parent)
        print(f"  {name}: " + ", ".join(f"{key} {value:.3f}" for key, value in results[name].figures.items()))
    return results


def _train(bench: Bench, config: TL2FTraining, folder: Path, weights: Mapping[str, Tensor] | None) -> Outcome:
    started = time.monotonic()
    theta, converter = bench.course.train_generator(config, folder, weights)
    seconds = time.monotonic() - started

    @torch.no_grad()
    def make(landmarks: Points, convert: bool) -> Image8:
        points = torch.from_numpy(landmarks[None])
        picture: Image8 = from_network(theta(converter(points) if convert else points).numpy())[0]
        return picture

    own, driver, every = bench.course.dataset, bench.driver, bench.every
    landmarks, crops = own.landmarks("test")[::every], own.crops("test")[::every]
    made = [make(each, False) for each in landmarks]
    compared = [compare_pictures(*each) for each in zip(made, crops, landmarks, strict=True)]
    figures = {name: float(np.mean([each[name] for each in compared])) for name in compared[0]}
    foreign = driver.landmarks("test")[::every]
    for prefix, asked, pictures in (
        ("own", landmarks, made),
        ("driven", foreign, [make(each, True) for each in foreign]),
    ):
        figures |= {f"{prefix}_{name}": value for name, value in _read_back(bench, asked, pictures).items()}
    return Outcome(
        steps=config.steps,
        seconds=round(seconds, 1),
        figures={name: round(float(value), 4) for name, value in figures.items()},
    )


def _read_back(bench: Bench, asked: Points, pictures: list[Image8]) -> dict[str, float]:
    """Whose faces the pictures show, and the rank correlation of each expression asked for and found again on them."""
    given, found, distances = [], [], []
    for points, picture in zip(asked, tqdm(pictures, "look", leave=False), strict=True):
        sight = bench.eyes.look(picture, points)
        if sight.landmarks is not None:
            given.append(points)
            found.append(sight.landmarks)
        if sight.descriptor is not None and bench.reference is not None:
            distances.append(np.linalg.norm(sight.descriptor - bench.reference))
    whose = {"id": float(np.mean(distances))} if distances else {}
    if not given:
        return whose | dict.fromkeys(EXPRESSIONS, 0.0)
    before = measure_expression(np.stack(given), bench.course.dataset.scheme)
    after = measure_expression(np.stack(found), get_scheme(bench.eyes.scheme))
    return whose | {name: rank_correlation(before[name], after[name]) for name in EXPRESSIONS}


def rank_correlation(given: NDArray[np.float32], found: NDArray[np.float32]) -> float:
    """Spearman's rank correlation of two series; 0 where one of them does not move."""
    return 0.0 if np.ptp(given) == 0 or np.ptp(found) == 0 else float(spearmanr(given, found).statistic)


def _train_converter(bench: Bench, config: ConverterTraining, folder: Path) -> Outcome:
    started = time.monotonic()
    model = bench.course.train_converter(config, folder).requires_grad_(False)
    seconds = time.monotonic() - started
    own, driver = bench.course.dataset, bench.driver
    scheme, target, source = own.scheme, own.manifest.target, driver.manifest.target
    foreign = torch.from_numpy(driver.landmarks("test"))
    converted = model.of(target)(foreign)
    before, after = (measure_expression(each.numpy(), scheme) for each in (foreign, converted))
    figures = {name: rank_correlation(before[name], after[name]) for name in EXPRESSIONS}
    ours = torch.from_numpy(own.landmarks("test"))
    figures["rebuilt"] = float((model.of(target)(ours) - ours).norm(dim=2).mean())
    if source in model.psi:
        back = model.of(source)(converted)
        figures["cycle"] = float((back - foreign).norm(dim=2).mean())
    neutral = torch.from_numpy(own.landmarks("train")).mean(dim=0)
    figures["from_target"] = float((converted.mean(dim=0) - neutral).norm(dim=1).mean())
    return Outcome(
        steps=config.steps,
        seconds=round(seconds, 1),
        figures={name: round(value, 4) for name, value in figures.items()},
    )


def time_networks(ours: TL2F, theirs: TL2F, folder: Path, runs: int = 40) -> tuple[float, float]:
    """Median milliseconds of a picture of two networks in ONNX Runtime, taken in turn."""
    folder.mkdir(parents=True, exist_ok=True)
    sessions = []
    for name, network in (("ours", ours), ("theirs", theirs)):
        points = torch.rand(2, network.config.points, 2)
        spec = TensorSpec(name="landmarks", shape=(None, network.config.points, 2), low=0, high=1)
        face = TensorSpec(name="face", shape=(None, 3, 256, 256), low=0, high=1)
        export_network(network, points, folder / f"{name}.onnx", spec, face)
        options = ort.SessionOptions()
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        sessions.append(ort.InferenceSession(folder / f"{name}.onnx", options))
    times: list[list[float]] = [[], []]
    batch = {"landmarks": np.random.default_rng(0).random((1, ours.config.points, 2), np.float32)}
    for _ in range(runs):
        for session, kept in zip(sessions, times, strict=True):
            started = time.perf_counter()
            session.run(None, batch)
            kept.append((time.perf_counter() - started) * 1000)
    first, second = (round(float(np.median(each)), 2) for each in times)
    return first, second


def open_bench(
    target: str,
    config: TrainingConfig,
    data_dir: Path,
    models_dir: Path,
    runs_dir: Path,
    eyes: FaceAnalyzer,
    every: int,
    begin_from: str | None = None,
) -> Bench:
    """The target's course and another identity's test frames. Raises DatasetError where there is none.

    `begin_from` is the bundle whose generator those of the target begin as, where they have its widths.
    """
    course = prepare_run(target, config, "auto", data_dir, runs_dir, models_dir)
    others = [name for name in course.lesson.identities if name != target]
    if not others:
        raise DatasetError(f"A study of '{target}' needs another prepared dataset to drive it. `make data` brings two.")
    weights = None
    if begin_from is not None:
        _, weights = begin_as(begin_from, target, models_dir, course.config.tl2f.network)
    own, driver = course.dataset, FrameDataset(data_dir / others[0])
    frames = own.landmarks("train")
    calm = find_calm(frames, own.scheme)
    reference = eyes.look(own.crops("train")[calm], frames[calm]).descriptor
    return Bench(course, driver, eyes, reference, every, weights)
