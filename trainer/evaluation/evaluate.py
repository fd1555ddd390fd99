"""Measure bundles and what they are compared with, through the HTTP API, on frames and faces that no training saw.

Every system goes through the same protocols on the same frames and is measured by the same analyzer.
"""

import platform
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from importlib.metadata import distributions
from itertools import product
from pathlib import Path

import numpy as np

from shared.bundle import BundleManifest, read_bundle
from shared.detectors import load_detector
from shared.geometry import cut_crop, find_crop
from shared.pixels import Image8
from trainer.data.dataset import FrameDataset, list_datasets
from trainer.errors import DatasetError
from trainer.evaluation.baselines import NearestFrame, ScoredFolder, Served, System, WarpedReference, read_reference
from trainer.evaluation.drivers import Clip, Still, find_stills, open_clip
from trainer.evaluation.face_analyzer import DETECTOR, FaceAnalyzer, open_face_analyzer
from trainer.evaluation.figures import open_animator
from trainer.evaluation.generator_figures import measure_edits
from trainer.evaluation.intervals import Estimate, average, subtract
from trainer.evaluation.protocols import (
    Estimates,
    Identity,
    can_drive,
    try_cross,
    try_cycle,
    try_own,
    try_real,
    try_second,
    try_stills,
)
from trainer.evaluation.results import EVERY, Driven, Evaluation, Figure, Task, hash_bundle, make_figure
from trainer.evaluation.served_faces import serve

Shown = dict[tuple[str, str, str], Sequence[Image8]]
"""The pictures that the report shows, by system, driver and target."""

STRANGERS = "strangers"
REAL = "real"
GAIN = "gain"
"""A row of differences: what the converter brings."""

MEASURED_WITH = ("dlib-bin", "numpy", "onnxruntime", "scikit-image", "scipy")
LABELS = {
    REAL: "real frames",
    "landmarkgan": "LandmarkGAN",
    "calibrated": "LandmarkGAN, calibrated",
    "unconverted": "without the converter",
    GAIN: "what the converter changes",
    "nearest": "nearest training frame",
    "warp": "reference picture, warped",
    "previous": "previous release",
}


@dataclass(frozen=True)
class Material:
    """What all systems are shown and judged by: `clips` are the drivers', `manifests` the targets'."""

    clips: Mapping[str, Clip]
    manifests: Mapping[str, BundleManifest]
    datasets: Mapping[str, FrameDataset]
    stills: Sequence[Still]
    still_crops: Sequence[Image8]
    references: Mapping[str, Image8]
    identity: Identity

    def list_pairs(self) -> list[tuple[str, str]]:
        """(driver, target), every ordered pair of two people that can be driven."""
        pairs = product(self.clips, self.manifests)
        return [(a, b) for a, b in pairs if a != b and can_drive(self.clips[a], self.manifests[b])]


@dataclass
class Results:
    """What is gathered on the way: figures, and the pictures that the report shows of each system and pair."""

    estimates: dict[tuple[str, Task, str, str], Estimates] = field(default_factory=dict)
    shown: Shown = field(default_factory=dict)

    def add(self, system: str, task: Task, driver: str, target: str, estimates: Estimates) -> None:
        """Keep the figures of one trial."""
        self.estimates.setdefault((system, task, driver, target), {}).update(estimates)

    def subtract(self, first: str, second: str, name: str) -> None:
        """Keep, as a system of this name, by how much more the first has than the second when others drive.

        Of the same frames alone. Every resample draws them alike, so that what makes all frames of a second hard for
        both does not widen the interval.
        """
        for (system, task, driver, target), ours in list(self.estimates.items()):
            theirs = self.estimates.get((second, task, driver, target), {})
            if system == first and task in ("cross", "cycle"):
                same = [key for key, each in ours.items() if key in theirs and theirs[key].frames == each.frames]
                self.add(name, task, driver, target, {key: subtract(ours[key], theirs[key]) for key in same})

    def list_figures(self) -> list[Figure]:
        """Every figure, system by system."""
        return [
            make_figure(*place, name, each)
            for place, estimates in self.estimates.items()
            for name, each in estimates.items()
        ]


def evaluate(
    data_dir: Path,
    models_dir: Path,
    every: int | None = None,
    previous: Path | None = None,
    scored: Mapping[str, Path] | None = None,
) -> tuple[Evaluation, Material, Shown]:
    """Measure every bundle whose dataset is prepared.

    `every` takes one test frame in so many; None: as many as are usual. `previous` is a checkout of an earlier
    revision, whose own service and bundles are a row of their own; `scored` are folders of pictures that other
    programs made. With the figures comes what they were measured on, and pictures to show. Raises DatasetError where
    no dataset is prepared, and the errors of the service and the analyzer.
    """
    with ExitStack() as stack:
        analyzer = stack.enter_context(open_face_analyzer(models_dir))
        material = gather_material(data_dir, models_dir, every, analyzer)
        systems = stack.enter_context(open_systems(models_dir, material, previous, scored or {}))
        results = Results()
        for target in material.manifests:
            results.add(REAL, "own", target, target, try_real(material.clips[target], analyzer, material.identity))
        for target, manifest in material.manifests.items():
            edits = measure_edits(open_animator(models_dir / target, manifest), material.clips[target], analyzer)
            results.add("landmarkgan", "generator", target, target, edits)
        readable = {name: try_second(clip, analyzer) for name, clip in material.clips.items()}
        for driver, target in material.list_pairs():
            results.add(REAL, "cross", driver, target, readable[driver])
        for system in systems:
            run_trials(system, material, analyzer, results)
        results.subtract("landmarkgan", "unconverted", GAIN)
    notes = () if previous else ("The previous release was not measured: no checkout of it was given (`--previous`).",)
    names = [system.name for system in systems]
    names.insert(names.index("unconverted") + 1, GAIN)
    return describe(material, names, notes, results.list_figures()), material, results.shown


def gather_material(data_dir: Path, models_dir: Path, every: int | None, analyzer: FaceAnalyzer) -> Material:
    """Everything that the trials need of the disk."""
    manifests = find_bundles(data_dir, models_dir)
    datasets = {name: FrameDataset(data_dir / name) for name in list_datasets(data_dir)}
    clips = {name: open_clip(each, analyzer, every) for name, each in datasets.items() if len(each.indices("test"))}
    stills = find_stills(data_dir / "media" / "faces", load_detector(DETECTOR, models_dir))
    some = next(iter(manifests.values()))
    crops, descriptors = [], []
    for still in stills:
        crop = find_crop(still.landmarks, some.crop)
        crops.append(cut_crop(still.picture, crop, some.image_size))
        descriptors.append(analyzer.look(crops[-1], crop.to_unit(still.landmarks)).descriptor)
    references = {name: read_reference(manifest, models_dir) for name, manifest in manifests.items()}
    targets = {
        name: analyzer.look(references[name], np.array(manifest.neutral, np.float32)).descriptor
        for name, manifest in manifests.items()
    }
    identity = Identity(
        {name: each for name, each in targets.items() if each is not None},
        descriptors,
    )
    return Material(clips, manifests, datasets, stills, crops, references, identity)


def find_bundles(data_dir: Path, models_dir: Path) -> dict[str, BundleManifest]:
    """The bundles whose dataset is prepared with the bundle's own crop rule. Raises DatasetError where none is."""
    manifests = {}
    for target in list_datasets(data_dir):
        if not (models_dir / target / "bundle.json").exists():
            continue
        manifest = read_bundle(models_dir / target)
        if FrameDataset(data_dir / target).manifest.crop != manifest.crop:
            raise DatasetError(f"The dataset and the bundle of '{target}' differ in their crop rule; train it again.")
        manifests[target] = manifest
    if not manifests:
        raise DatasetError("No bundle has a prepared dataset to be measured on. `make data` prepares the samples'.")
    return manifests


@contextmanager
def open_systems(
    models_dir: Path, material: Material, previous: Path | None, scored: Mapping[str, Path]
) -> Iterator[list[System]]:
    """Everything that is compared, its services running."""
    with ExitStack() as stack:
        # One thread, one picture a batch: what ONNX Runtime adds up does not hang on the machine's cores.
        served = stack.enter_context(serve(models_dir, threads=1, max_batch=1))
        trained = {name: material.datasets[name] for name in material.manifests}
        systems: list[System] = [
            Served("landmarkgan", served),
            Served("calibrated", served, calibrated=True),
            Served("unconverted", served, convert=False),
            NearestFrame(served, trained),
            WarpedReference(served, material.manifests, models_dir),
        ]
        if previous is not None:
            older = stack.enter_context(serve(previous / "models", threads=1, max_batch=1, code=previous))
            systems.append(Served("previous", older))
        sizes = {name: manifest.image_size for name, manifest in material.manifests.items()}
        systems += [ScoredFolder(name, folder, sizes) for name, folder in scored.items()]
        yield systems


def run_trials(system: System, material: Material, analyzer: FaceAnalyzer, results: Results) -> None:
    """All trials of one system; its figures and pictures are added to the results."""
    means: dict[tuple[Task, str], list[Estimate]] = {}

    def add(task: Task, driver: str, target: str, estimates: Estimates) -> None:
        results.add(system.name, task, driver, target, estimates)
        for name, each in estimates.items():
            means.setdefault((task, name), []).append(each)

    for target in material.manifests:
        add("own", target, target, try_own(system, material.clips[target], analyzer))
    for driver, target in material.list_pairs():
        clip, manifest = material.clips[driver], material.manifests[target]
        crossed = try_cross(system, clip, manifest, analyzer, material.identity)
        add("cross", driver, target, crossed.figures)
        results.shown[system.name, driver, target] = crossed.shown
        if driver in material.manifests:
            back = material.manifests[driver]
            cycled = try_cycle(system, clip, material.clips[target], crossed.observations, back, analyzer)
            add("cycle", driver, target, cycled)
    for target, manifest in material.manifests.items():
        if not system.needs_neutral:  # a single photo does not tell one
            figures, pictures = try_stills(system, material.stills, manifest, analyzer, material.identity)
            add("stills", STRANGERS, target, figures)
            results.shown[system.name, STRANGERS, target] = pictures
    for (task, name), estimates in means.items():
        results.add(system.name, task, EVERY, EVERY, {name: average(estimates)})


def describe(
    material: Material, systems: Sequence[str], notes: tuple[str, ...], figures: Sequence[Figure]
) -> Evaluation:
    """The evaluation with all that its figures hang on."""
    names = [REAL, *systems]
    return Evaluation(
        systems={name: LABELS.get(name, name) for name in names},
        bundles={name: hash_bundle(manifest) for name, manifest in material.manifests.items()},
        drivers={name: _describe_clip(clip, material.datasets[name]) for name, clip in material.clips.items()},
        stills=len(material.stills),
        notes=notes,
        versions={"python": platform.python_version()}
        | {each.name: each.version for each in distributions() if each.name in MEASURED_WITH},
        figures=tuple(figures),
    )


def _describe_clip(clip: Clip, dataset: FrameDataset) -> Driven:
    test = len(dataset.indices("test"))
    return Driven(
        display_name=clip.display_name,
        frames=len(clip),
        of=test if len(dataset.indices("train")) else test - test // 2,
        block=clip.timeline.block,
        moving={name: int(flags.sum()) for name, flags in clip.moving.items()},
    )
