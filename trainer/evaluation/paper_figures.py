"""The paper's figures from our bundles: edited landmarks, extremes, reenactment, with and without the converter.

Nothing is chosen by how it came out: edits start from each target's neutral landmarks, frames are those that show the
driver's face at its most, strangers are spread evenly over the photos.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np
from PIL import Image

from shared.animation import Animator, DrivingFace
from shared.bundle import BundleManifest, read_bundle
from shared.detectors import load_detector
from shared.geometry import cut_crop, find_crop
from shared.landmarks import Points, Scheme, convert_scheme, get_scheme
from shared.pixels import Image8, from_network
from trainer.data.dataset import FrameDataset, list_datasets
from trainer.evaluation.drivers import Still, find_stills
from trainer.evaluation.face_analyzer import DETECTOR
from trainer.evaluation.figures import (
    Actor,
    Driver,
    Panel,
    draw_landmarks,
    fit_cells,
    lay_out,
    name_columns,
    open_actor,
    open_driver,
    place_points,
    run_network,
    save_figure,
    show_samples,
)
from trainer.evaluation.landmark_edits import express, shift_mouth, shrink_contour, shut_eyes, turn, widen_contour

Edit = Callable[[Points, Scheme], Points]

EDITS: Mapping[str, Edit] = {
    "neutral": lambda face, scheme: face,
    "mouth open": lambda face, scheme: express(face, scheme, mouth_open=0.25),
    "smile": lambda face, scheme: express(face, scheme, smile=0.2, mouth_open=0.05),
    "brows up": lambda face, scheme: express(face, scheme, brows_up=0.08),
    "turned left": lambda face, scheme: turn(face, scheme, -10),
    "turned right": lambda face, scheme: turn(face, scheme, 10),
    "turned, open": lambda face, scheme: turn(express(face, scheme, mouth_open=0.25), scheme, 10),
}
LIDS: Mapping[str, Edit] = {
    f"{percent}% shut": partial(shut_eyes, share=percent / 100) for percent in (0, 20, 40, 60, 80, 100)
}
EXTREMES: Mapping[str, Edit] = {
    "mouth left": lambda face, scheme: shift_mouth(face, scheme, -0.25, 0),
    "mouth right": lambda face, scheme: shift_mouth(face, scheme, 0.25, 0),
    "mouth low": lambda face, scheme: shift_mouth(face, scheme, 0, 0.2),
    "narrow": lambda face, scheme: widen_contour(face, scheme, 0.85),
    "wide": lambda face, scheme: widen_contour(face, scheme, 1.15),
    "smaller": lambda face, scheme: shrink_contour(face, scheme, 0.85),
}
FAILURES: Mapping[str, Edit] = {
    "mouth outside": lambda face, scheme: shift_mouth(face, scheme, 1.1, 0.2),
    "mouth on nose": lambda face, scheme: shift_mouth(face, scheme, 0, -0.6),
    "mouth far open": lambda face, scheme: express(face, scheme, mouth_open=0.9),
    "contour shrunk": lambda face, scheme: shrink_contour(face, scheme, 0.45),
    "very wide": lambda face, scheme: widen_contour(face, scheme, 1.6),
    "turned far": lambda face, scheme: turn(face, scheme, 60),
}
MOST_STRANGERS = 7


@dataclass(frozen=True)
class Drawn:
    """A figure: the name of its file without a suffix, and what it shows."""

    name: str
    caption: str
    picture: Image.Image


def draw_gallery(targets: Sequence[str], data_dir: Path, models_dir: Path) -> list[Drawn]:
    """The README's figure and the paper's. Raises BundleError and DatasetError where something is missing or damaged.

    Without another driver than the targets, or without photos, the figures go without them.
    """
    actors = [open_actor(name, data_dir, models_dir) for name in targets]
    drivers = [open_driver(name, data_dir) for name in list_datasets(data_dir) if is_driver(data_dir / name)]
    faces = data_dir / "media" / "faces"
    stills = find_stills(faces, load_detector(DETECTOR, models_dir)) if faces.is_dir() else []
    figures = (
        ("samples", "Test frames, their landmarks, and the faces made from these.", show_samples(actors)),
        ("edits", "Edited landmarks, red where they moved, and their faces.", show_edits(targets, models_dir)),
        ("extremes", "FaceAnalyzer shut by degrees, extremes, and failures.", show_extremes(targets, models_dir)),
        ("reenactment", "Reenactment across identities.", show_reenactment(actors, [*actors, *drivers], stills)),
        ("converter", "Without the landmark converter, and with it.", show_ablation(actors, stills)),
    )
    return [Drawn(name, caption, lay_out(panels)) for name, caption, panels in figures if panels]


def save_gallery(drawn: Sequence[Drawn], folder: Path) -> None:
    """Write each figure as a JPEG of its name."""
    for each in drawn:
        path = folder / f"{each.name}.jpg"
        print(f"{path}: {save_figure(each.picture, path) // 1000} kB.")


def is_driver(folder: Path) -> bool:
    """Whether all of a dataset's frames are for testing: somebody who drives, and is no target."""
    return len(FrameDataset(folder).indices("train")) == 0


def show_edits(targets: Sequence[str], models_dir: Path) -> list[Panel]:
    """Fig. 1: landmarks edited, and their faces."""
    return [_edit(models_dir, name, "edited landmarks", EDITS) for name in targets]


def show_extremes(targets: Sequence[str], models_dir: Path) -> list[Panel]:
    """Fig. 4: lids shut step by step, edits that nobody was filmed at, and those that break the picture."""
    rows = (("eyes shut by degrees", LIDS), ("pushed to extremes", EXTREMES), ("failures", FAILURES))
    return [_edit(models_dir, name, title, edits) for title, edits in rows for name in targets]


def show_reenactment(targets: Sequence[Actor], drivers: Sequence[Driver], stills: Sequence[Still]) -> list[Panel]:
    """Fig. 5: every target driven by every other driver's frames, and by strangers on photos."""
    panels = []
    for driver in drivers:
        driven = [target for target in targets if target.name != driver.name]
        if driven:
            rows = [_drive(place_points(driver, target), target)[1] for target in driven]
            labels, cells = (driver.name, *(target.name for target in driven)), [fit_cells(driver.frames), *rows]
            panels.append(Panel(f"{driver.name} drives", name_columns(), labels, np.stack(cells)))
    strangers = pick_strangers(stills, MOST_STRANGERS)
    if strangers:
        rows = [_drive(_place_stills(strangers, target.manifest), target)[1] for target in targets]
        labels = ("photo", *(target.name for target in targets))
        cells = [_cut_stills(strangers, targets[0].manifest), *rows]
        panels.append(Panel("Strangers on photos drive", [""] * len(strangers), labels, np.stack(cells)))
    return panels


def show_ablation(targets: Sequence[Actor], stills: Sequence[Still]) -> list[Panel]:
    """Fig. 6: the same landmarks straight into the generator, and through the converter."""
    panels = []
    for source, target in permutations(targets, 2):
        title = f"{source.name} drives {target.name}"
        panels.append(_compare(title, name_columns(), fit_cells(source.frames), place_points(source, target), target))
    strangers = pick_strangers(stills, len(name_columns()))
    for target in targets if strangers else ():
        crops, placed = _cut_stills(strangers, target.manifest), _place_stills(strangers, target.manifest)
        panels.append(_compare(f"Strangers drive {target.name}", [""] * len(strangers), crops, placed, target))
    return panels


def _compare(title: str, columns: Sequence[str], drivers: Image8, placed: Points, target: Actor) -> Panel:
    labels = ("driver", "landmarks", "without converter", "converted", "with converter")
    scheme = get_scheme(target.manifest.scheme)
    converted, made = _drive(placed, target)
    _, plain = _drive(placed, target, convert=False)
    drawn = [np.stack([draw_landmarks(points, scheme) for points in each]) for each in (placed, converted)]
    return Panel(title, columns, labels, np.stack([drivers, drawn[0], plain, drawn[1], made]))


def _edit(models_dir: Path, name: str, title: str, edits: Mapping[str, Edit]) -> Panel:
    manifest = read_bundle(models_dir / name)
    scheme, face = get_scheme(manifest.scheme), np.array(manifest.neutral, np.float32)
    edited = np.stack([edit(face, scheme) for edit in edits.values()])
    drawn = np.stack([draw_landmarks(points, scheme, before=face) for points in edited])
    made = fit_cells(from_network(run_network(models_dir / name, manifest.tl2f, edited)))
    return Panel(f"{manifest.display_name}: {title}", list(edits), ("landmarks", "made"), np.stack([drawn, made]))


def _drive(placed: Points, target: Actor, convert: bool = True) -> tuple[Points, Image8]:
    """Converted landmarks (C, N, 2) and the pictures made of them (C, CELL, CELL, 3), as the service has them."""
    manifest = target.manifest
    networks = (partial(run_network, target.folder, each) for each in (manifest.converter, manifest.tl2f))
    made = Animator(manifest, *networks).animate([DrivingFace(points, convert) for points in placed])
    return np.stack([face.points for face in made]), fit_cells(np.stack([face.picture for face in made]))


def pick_strangers(stills: Sequence[Still], most: int) -> list[Still]:
    """So many at most, spread evenly over the photos in order of their names."""
    return [stills[index] for index in np.linspace(0, len(stills) - 1, min(most, len(stills))).astype(int)]


def _place_stills(stills: Sequence[Still], manifest: BundleManifest) -> Points:
    """Their landmarks in crop units (C, N, 2), as the service places them."""
    points = [convert_scheme(still.landmarks, still.scheme, get_scheme(manifest.scheme)) for still in stills]
    return np.stack([find_crop(face, manifest.crop).to_unit(face) for face in points])


def _cut_stills(stills: Sequence[Still], manifest: BundleManifest) -> Image8:
    """Their faces (C, CELL, CELL, 3)."""
    points = [convert_scheme(still.landmarks, still.scheme, get_scheme(manifest.scheme)) for still in stills]
    crops = [find_crop(face, manifest.crop) for face in points]
    pictures = [cut_crop(still.picture, crop, manifest.image_size) for still, crop in zip(stills, crops, strict=True)]
    return fit_cells(np.stack(pictures))
