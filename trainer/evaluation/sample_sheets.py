"""What the README and the docs show of the bundles: sheets of pictures, and a short film of people driving one another.

Nothing is chosen by how it came out: edits start from each target's neutral face and go to the ends of the editor's
sliders and beyond, frames are those that show the driver's face at its most, strangers are spread evenly over the
photos.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from io import BytesIO
from itertools import permutations
from pathlib import Path

import numpy as np
from PIL import Image

from shared.anatomy import describe
from shared.animation import DrivingFace
from shared.bundle import BundleManifest
from shared.detectors import load_detector
from shared.expression import measure_expression
from shared.geometry import cut_crop, find_crop
from shared.landmarks import Points, Scheme, convert_scheme, get_scheme
from shared.pixels import Image8
from trainer.data.dataset import FrameDataset, list_datasets
from trainer.evaluation.drivers import Still, find_stills
from trainer.evaluation.face_analyzer import DETECTOR
from trainer.evaluation.figures import (
    MOST_BYTES,
    Actor,
    Driver,
    Panel,
    draw_faces,
    draw_landmarks,
    fit_cells,
    lay_out,
    list_driving,
    name_columns,
    open_actor,
    open_driver,
    place_points,
    save_figure,
)
from trainer.evaluation.landmark_edits import express, shut_eyes, turn

Edit = Callable[[Points, Scheme], Points]


def act(**amounts: float) -> Edit:
    """An edit that adds motions of the anatomy (`landmark_edits.express`)."""
    return lambda face, scheme: express(face, scheme, **amounts)


EYES: Mapping[str, Edit] = {
    "right eye shut": partial(shut_eyes, eyes=("right_eye",)),
    "left eye shut": partial(shut_eyes, eyes=("left_eye",)),
    "both shut": shut_eyes,
    "half shut": partial(shut_eyes, share=0.5),
}
GAZE: Mapping[str, Edit] = {
    "looks left": act(gaze_across=-0.08),
    "looks right": act(gaze_across=0.08),
    "looks up": act(gaze_down=-0.05),
    "looks down": act(gaze_down=0.05),
}
EXTREMES: Mapping[str, Edit] = {
    "35° left": partial(turn, yaw=-35),
    "20° left": partial(turn, yaw=-20),
    "20° right": partial(turn, yaw=20),
    "35° right": partial(turn, yaw=35),
    "20° up": partial(turn, pitch=-20),
    "20° down": partial(turn, pitch=20),
    "mouth wide": act(mouth_open=0.45),
    "mouth wider": act(mouth_open=0.65),
}
SLIDERS = ("mouth_open", "smile", "pout", "brows_up")
MOST_STRANGERS = 8
FILM_FRAMES, FILM_MILLISECONDS, FILM_CELL = 50, 80, 160
"""Of the film: pictures, how long each is shown, pixels of a face's side."""


@dataclass(frozen=True)
class Sheet:
    """A figure: the name of its file without a suffix, and what it shows."""

    name: str
    caption: str
    picture: Image.Image


def draw_sheets(targets: Sequence[str], data_dir: Path, models_dir: Path) -> list[Sheet]:
    """Every sheet. Raises BundleError and DatasetError where something is missing or damaged.

    Without another driver than the targets, or without photos, the sheets go without them.
    """
    actors = [open_actor(name, data_dir, models_dir) for name in targets]
    datasets = [FrameDataset(data_dir / name) for name in list_datasets(data_dir)]
    others = [open_driver(dataset) for dataset in datasets if not len(dataset.indices("train"))]
    faces = data_dir / "media" / "faces"
    stills = find_stills(faces, load_detector(DETECTOR, models_dir)) if faces.is_dir() else []
    figures = (
        ("held-out", "Test frames, their landmarks, and the faces generated from these.", show_held_out(actors), 2),
        ("sliders", "Each slider at either end.", [show_sliders(actor) for actor in actors], 2),
        ("eyes", "Each eye shut alone; gaze.", [show_eyes(actor) for actor in actors], 1),
        ("extremes", "Heads turned and mouths opened.", [show_edits(actor, EXTREMES) for actor in actors], 1),
        ("reenactment", "Driven by one another.", show_reenactment(actors, others), 2),
        ("strangers", "Driven by strangers on photos.", show_strangers(actors, stills), 1),
        ("converter", "Without the landmark converter, and with it.", show_converter(actors), 2),
    )
    return [Sheet(name, caption, lay_out(panels, across)) for name, caption, panels, across in figures if panels]


def save_sheets(sheets: Sequence[Sheet], folder: Path) -> None:
    """Write each sheet as a JPEG of its name."""
    for each in sheets:
        path = folder / f"{each.name}.jpg"
        print(f"{path}: {save_figure(each.picture, path) // 1000} kB.")


def show_held_out(actors: Sequence[Actor]) -> list[Panel]:
    """Each target from its own landmarks, which training never saw."""
    panels = []
    for actor in actors:
        points, made = draw_faces(actor, list_driving(actor, actor, convert=False))
        scheme = get_scheme(actor.manifest.scheme)
        drawn = np.stack([draw_landmarks(face, scheme) for face in points])
        rows = np.stack([fit_cells(actor.frames), drawn, made])
        panels.append(Panel(f"{actor.name}, held-out frames", name_columns(), ("real", "landmarks", "generated"), rows))
    return panels


def show_sliders(actor: Actor) -> Panel:
    """Motions of mouth and brows at their low and at their high end; `show_eyes` has the others."""
    motions = [motion for motion in describe(get_scheme(actor.manifest.scheme)).motions if motion.name in SLIDERS]
    low = [act(**{motion.name: motion.low}) for motion in motions]
    high = [act(**{motion.name: motion.high}) for motion in motions]
    columns = [motion.name.replace("_", " ") for motion in motions]
    rows = np.stack([_edit(actor, low)[1], _edit(actor, high)[1]])
    return Panel(f"{actor.name}: the ends of the sliders", columns, ("low end", "high end"), rows)


def show_eyes(actor: Actor) -> Panel:
    """Each eye shut alone; where the scheme has pupils, gaze."""
    pupils = get_scheme(actor.manifest.scheme).pupils is not None
    return show_edits(actor, {**EYES, **GAZE} if pupils else EYES)


def show_edits(actor: Actor, edits: Mapping[str, Edit]) -> Panel:
    """Edited landmarks, red where they moved, and their faces."""
    points, made = _edit(actor, list(edits.values()))
    scheme, (before,) = get_scheme(actor.manifest.scheme), _edit_points(actor, [lambda face, scheme: face])
    drawn = np.stack([draw_landmarks(face, scheme, before) for face in points])
    return Panel(actor.name, list(edits), ("landmarks", "generated"), np.stack([drawn, made]))


def show_reenactment(targets: Sequence[Actor], others: Sequence[Driver]) -> list[Panel]:
    """Every target driven by every other driver's frames, the driver's neutral face known."""
    panels = []
    for driver in (*targets, *others):
        driven = [target for target in targets if target.name != driver.name]
        if driven:
            rows = [draw_faces(target, list_driving(driver, target, calibrate=True))[1] for target in driven]
            labels, cells = (driver.name, *(target.name for target in driven)), [fit_cells(driver.frames), *rows]
            panels.append(Panel(f"{driver.name} drives", name_columns(), labels, np.stack(cells)))
    return panels


def show_strangers(targets: Sequence[Actor], stills: Sequence[Still]) -> list[Panel]:
    """Every target driven by strangers on photos, of whom one picture is all that is known."""
    chosen = pick_strangers(stills, MOST_STRANGERS)
    if not chosen:
        return []
    rows = [draw_faces(target, _place_stills(chosen, target.manifest))[1] for target in targets]
    labels = ("photo", *(target.name for target in targets))
    cells = np.stack([_cut_stills(chosen, targets[0]), *rows])
    return [Panel("Strangers on photos drive", [""] * len(chosen), labels, cells)]


def show_converter(targets: Sequence[Actor]) -> list[Panel]:
    """The same landmarks straight into the generator, through the converter, and with the driver's neutral known."""
    ways: Mapping[str, Callable[[Driver, Actor], list[DrivingFace]]] = {
        "unconverted": partial(list_driving, convert=False),
        "converted": list_driving,
        "calibrated": partial(list_driving, calibrate=True),
    }
    panels = []
    for source, target in permutations(targets, 2):
        rows = [draw_faces(target, way(source, target))[1] for way in ways.values()]
        cells = np.stack([fit_cells(source.frames), *rows])
        panels.append(Panel(f"{source.name} drives {target.name}", name_columns(), ("driver", *ways), cells))
    return panels


def draw_film(targets: Sequence[str], data_dir: Path, models_dir: Path) -> list[Image.Image]:
    """Each target driven by the next, over the seconds of the driver's test block in which its face does most."""
    actors = [open_actor(name, data_dir, models_dir) for name in targets]
    columns = []
    for target, name in zip(actors, [*targets[1:], *targets[:1]], strict=True):
        dataset = FrameDataset(data_dir / name)
        driver = open_driver(dataset, choose_stretch(dataset, FILM_FRAMES))
        _, made = draw_faces(target, list_driving(driver, target, calibrate=True), FILM_CELL)
        columns += [fit_cells(driver.frames, FILM_CELL), made]
    return [Image.fromarray(np.concatenate(row, axis=1)) for row in zip(*columns, strict=True)]


def save_film(pictures: Sequence[Image.Image], path: Path, most_bytes: int = 4 * MOST_BYTES) -> int:
    """Write an animated WebP at the best quality that fits, down to 30; its size in bytes."""
    for quality in range(80, 29, -10):
        file = BytesIO()
        first, *rest = pictures
        first.save(file, "WEBP", save_all=True, append_images=rest, duration=FILM_MILLISECONDS, loop=0, quality=quality)
        if file.tell() <= most_bytes:
            break
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(file.getvalue())
    return file.tell()


def choose_stretch(dataset: FrameDataset, count: int) -> list[int]:
    """So many test frames, `FILM_MILLISECONDS` apart, over which the measures of the face spread most."""
    rate = next((source.fps for source in dataset.manifest.sources if source.fps is not None), None)
    step = 1 if rate is None else max(1, round(rate * FILM_MILLISECONDS / 1000 / dataset.manifest.every))
    measured = measure_expression(dataset.landmarks("test"), dataset.scheme)
    values = np.stack(list(measured.values()), axis=1)  # (n, M)
    values = values / np.maximum(values.std(axis=0), 1e-3)
    length = min(count, 1 + (len(values) - 1) // step)
    starts = range(0, len(values) - (length - 1) * step, step)
    spread = [float(values[start : start + length * step : step].std(axis=0).sum()) for start in starts]
    begin = starts[int(np.argmax(spread))]
    return [begin + step * number for number in range(length)]


def pick_strangers(stills: Sequence[Still], most: int) -> list[Still]:
    """So many at most, spread evenly over the photos in order of their names."""
    return [stills[index] for index in np.linspace(0, len(stills) - 1, min(most, len(stills))).astype(int)]


def _edit(actor: Actor, edits: Sequence[Edit]) -> tuple[Points, Image8]:
    return draw_faces(actor, [DrivingFace(points, convert=False) for points in _edit_points(actor, edits)])


def _edit_points(actor: Actor, edits: Sequence[Edit]) -> Points:
    """The target's neutral face, edited, in its crop units: (C, N, 2)."""
    scheme, face = get_scheme(actor.manifest.scheme), np.array(actor.manifest.shape, np.float32)
    return place_points(np.stack([edit(face, scheme) for edit in edits]), scheme, actor.manifest)


def _place_stills(stills: Sequence[Still], manifest: BundleManifest) -> list[DrivingFace]:
    placed = [place_points(still.landmarks[None], still.scheme, manifest)[0] for still in stills]
    return [DrivingFace(points, convert=True) for points in placed]


def _cut_stills(stills: Sequence[Still], target: Actor) -> Image8:
    """Their faces (C, CELL, CELL, 3)."""
    manifest = target.manifest
    points = [convert_scheme(still.landmarks, still.scheme, get_scheme(manifest.scheme)) for still in stills]
    crops = [find_crop(face, manifest.crop) for face in points]
    pictures = [cut_crop(still.picture, crop, manifest.image_size) for still, crop in zip(stills, crops, strict=True)]
    return fit_cells(np.stack(pictures))
