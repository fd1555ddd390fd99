"""Measure the committed bundles through the HTTP API, on frames and faces that no training saw.

Three questions, three functions: is the face made from its own landmarks like the real frame; does another person's
expression arrive; is the face the target's when a stranger drives it.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps
from tqdm import tqdm

from shared.bundle import BundleManifest, Measured, read_bundle, write_manifest
from shared.detectors import LandmarkDetector, load_detector
from shared.expression import MEASURES, measure_expression
from shared.landmarks import Points, get_scheme
from shared.pixels import Image8
from trainer.dataset import FrameDataset, list_datasets
from trainer.errors import DatasetError
from trainer.metrics import find_box, map_ssim, measure_gradient_energy, measure_psnr, rank_correlation
from trainer.recognition import FaceRecognizer
from trainer.served import ServedFaces, serve

Figures = Mapping[str, Measured]


@dataclass(frozen=True)
class Stranger:
    """One face of a picture of people never seen in training: `face` counts from the largest."""

    name: str
    picture: Image8
    face: int
    landmarks: Points


def evaluate(data_dir: Path, models_dir: Path, every: int, record: bool, report: Path | None) -> None:
    """Measure every bundle whose dataset is prepared; print a table, and write the figures where asked to.

    `every` takes one test frame in so many. `record` writes the figures into the bundles' manifests. Raises
    DatasetError where no dataset is prepared.
    """
    manifests = find_bundles(data_dir, models_dir)
    drivers = [name for name in list_datasets(data_dir) if len(FrameDataset(data_dir / name).indices("test"))]
    detector, recognizer = load_detector("mesh", models_dir), FaceRecognizer()
    strangers = find_strangers(data_dir / "media" / "faces", detector)
    results: dict[str, Figures] = {}
    with serve(models_dir) as served:
        for target, manifest in manifests.items():
            figures = dict(measure_own(served, FrameDataset(data_dir / target), every))
            for driver in drivers:
                if driver != target:
                    figures |= measure_expression_kept(
                        served, FrameDataset(data_dir / driver), manifest, detector, every
                    )
            figures |= measure_identity(served, manifest, models_dir, strangers, detector, recognizer)
            results[target] = figures
            print_figures(target, figures)
            if record:
                write_manifest(manifest.model_copy(update={"metrics": figures}), models_dir / target)
    if report is not None:
        text = {name: {key: each.model_dump() for key, each in figures.items()} for name, figures in results.items()}
        report.write_text(json.dumps(text, indent=2) + "\n", encoding="utf-8")


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


def measure_own(served: ServedFaces, dataset: FrameDataset, every: int) -> Figures:
    """Made from its own landmarks against the real frame: on the test block, /synthesize, PNG, 256x256, whole crop.

    Once with landmarks taken as the target's own (`own`), once through the converter (`own_converted`). SSIM and
    gradient energy in the landmarks' box besides.
    """
    target, size = dataset.manifest.target, dataset.manifest.size
    points, units, crops = dataset.points("test")[::every], dataset.landmarks("test")[::every], dataset.crops("test")
    sums: dict[str, list[float]] = {}
    for index in tqdm(range(len(points)), f"{target}: own landmarks"):
        real = np.asarray(crops[index * every])
        box = find_box(units[index], size)
        for prefix, convert in (("own", False), ("own_converted", True)):
            made = served.synthesize(target, points[index], convert)
            ssim = map_ssim(made, real)
            values = {
                "psnr": measure_psnr(made, real),
                "ssim": float(ssim.mean()),
                "ssim_box": float(ssim[box].mean()),
                "gradient_energy_box": measure_gradient_energy(made[box]) / measure_gradient_energy(real[box]),
            }
            for name, value in values.items():
                sums.setdefault(f"{prefix}_{name}", []).append(value)
    return {name: _measured(float(np.mean(values)), len(values)) for name, values in sums.items()}


def measure_expression_kept(
    served: ServedFaces, driver: FrameDataset, manifest: BundleManifest, detector: LandmarkDetector, every: int
) -> Figures:
    """Rank correlation of each measure, source against result: the driver's test frames by /reenact, faces found anew.

    The source's measures are its dataset's, the result's those of the detector on the made picture.
    """
    scheme = get_scheme(manifest.scheme)
    crops = driver.crops("test")
    given, found = [], []
    for index in tqdm(range(0, len(crops), every), f"{driver.manifest.target} drives {manifest.target}"):
        faces = detector.detect(served.reenact(manifest.target, np.asarray(crops[index])))
        if faces:
            given.append(driver.landmarks("test")[index])
            found.append(faces[0].landmarks)
    before, after = measure_expression(np.stack(given), scheme), measure_expression(np.stack(found), scheme)
    prefix = f"from_{driver.manifest.target}"
    kept = {f"{prefix}_{name}": _measured(rank_correlation(before[name], after[name]), len(given)) for name in MEASURES}
    return kept | {f"{prefix}_face_found": _measured(len(given) / len(range(0, len(crops), every)), len(given))}


def measure_identity(
    served: ServedFaces,
    manifest: BundleManifest,
    models_dir: Path,
    strangers: list[Stranger],
    detector: LandmarkDetector,
    recognizer: FaceRecognizer,
) -> Figures:
    """ID of faces driven by strangers' pictures: distance to the target's reference, and to the driving face.

    `strangers_nearer_target` is the share of results that lie nearer to the reference.
    """
    with Image.open(models_dir / manifest.target / manifest.reference.file) as picture:
        reference = recognizer.describe(np.asarray(picture), np.array(manifest.neutral) * manifest.image_size)
    to_target, to_source = [], []
    for stranger in tqdm(strangers, f"strangers drive {manifest.target}"):
        made = served.reenact(manifest.target, stranger.picture, stranger.face)
        faces = detector.detect(made)
        place = faces[0].landmarks if faces else np.array(manifest.neutral, np.float32) * manifest.image_size
        result = recognizer.describe(made, place)
        to_target.append(float(np.linalg.norm(result - reference)))
        to_source.append(float(np.linalg.norm(result - recognizer.describe(stranger.picture, stranger.landmarks))))
    nearer = np.mean(np.array(to_target) < np.array(to_source))
    return {
        "strangers_id_to_target": _measured(float(np.mean(to_target)), len(strangers)),
        "strangers_id_to_source": _measured(float(np.mean(to_source)), len(strangers)),
        "strangers_nearer_target": _measured(float(nearer), len(strangers)),
    }


def find_strangers(folder: Path, detector: LandmarkDetector) -> list[Stranger]:
    """Every face of the still pictures in `folder`. Raises DatasetError where there are none."""
    strangers = []
    for path in sorted(folder.glob("*")):
        with Image.open(path) as picture:
            image = np.asarray(ImageOps.exif_transpose(picture).convert("RGB"))
        strangers += [
            Stranger(path.stem, image, number, face.landmarks) for number, face in enumerate(detector.detect(image))
        ]
    if not strangers:
        raise DatasetError(f"There are no still faces in {folder}. `make data` fetches them.")
    return strangers


def print_figures(target: str, figures: Figures) -> None:
    """The figures of one target as a table."""
    print(f"\n{target}: held-out frames, over HTTP")
    for name, measured in figures.items():
        print(f"  {name:40s} {measured.value:8.3f}   ({measured.frames} frames)")


def _measured(value: float, frames: int) -> Measured:
    return Measured(value=round(value, 4), split="test", frames=max(1, frames))
