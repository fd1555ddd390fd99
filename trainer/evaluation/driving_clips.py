"""A folder of clips, measured through the path that a video job takes: upload, job, MP4, and what is seen in it."""

from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from pydantic import BaseModel, ConfigDict
from tqdm import tqdm

from shared.bundle import BundleManifest, read_bundle
from shared.calibration import Calibration
from shared.errors import LandmarksError
from shared.expression import GAZE
from shared.geometry import find_crop
from shared.landmarks import Points, Scheme, convert_scheme, get_scheme
from shared.neutral import WATCHED, find_neutral
from shared.pixels import Image8
from shared.tilt import TiltRange
from trainer.data.sources import Frame, VideoSource
from trainer.errors import SourceError
from trainer.evaluation.baselines import read_reference
from trainer.evaluation.drivers import measure_kept
from trainer.evaluation.face_analyzer import FaceAnalyzer, Observation, count_workers, open_face_analyzer
from trainer.evaluation.intervals import (
    BLOCK_SECONDS,
    Estimate,
    Timeline,
    average,
    collect,
    estimate_mean,
    estimate_rank_correlation,
)
from trainer.evaluation.results import EVERY, Figure, hash_bundle, make_figure
from trainer.evaluation.served_faces import ServedFaces, serve
from trainer.evaluation.tables import Column, Group, Table, format_cell

CLIP_SUFFIXES = frozenset({".mp4", ".webm", ".mkv", ".mov", ".avi", ".m4v"})
MOST_FRAMES = 30
"""Of each clip, spread evenly; all of a clip is driven."""

SERVED, CONVERTED = "landmarkgan", "converted"
EXPRESSION = tuple(
    Column(title, "clips", metric, 2)
    for title, metric in (
        ("mouth", "mouth"),
        ("eyes", "eyes"),
        ("brows", "brows"),
        ("yaw", "yaw"),
        ("pitch", "pitch"),
        ("roll", "roll"),
        ("mouth's width", "mouth_width"),
    )
)
OTHERS = (
    Column("ID ↓", "clips", "id", 3),
    Column("face found", "clips", "face_found", 2),
    Column("gaze, across", "clips", "gaze_x", 2),
    Column("error ↓", "clips", "gaze_x_error", 3),
    Column("gaze, down", "clips", "gaze_y", 2),
    Column("error ↓", "clips", "gaze_y_error", 3),
)


class ClipEvaluation(BaseModel):
    """What a folder of clips came out at."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    bundles: Mapping[str, Mapping[str, str]]
    clips: tuple[str, ...]
    figures: tuple[Figure, ...]


@dataclass(frozen=True)
class FilmedClip:
    """Somebody's clip: which of its frames are measured (n,), and what is seen in each."""

    path: Path
    rows: Sequence[int]
    landmarks: Sequence[Points | None]
    timeline: Timeline


def evaluate_clips(folder: Path, models_dir: Path) -> ClipEvaluation:
    """Drive every target of `models_dir` with every video of `folder`.

    Raises SourceError where there is none, and the errors of the service and the analyzer.
    """
    paths = list_clips(folder)
    estimates: dict[tuple[str, str, str], Mapping[str, Estimate]] = {}
    with open_face_analyzer(models_dir) as analyzer, serve(models_dir) as served, TemporaryDirectory() as made:
        clips = [film(path, analyzer) for path in tqdm(paths, "look at the clips", leave=False, disable=None)]
        manifests = {name: read_bundle(models_dir / name) for name in served.list_targets()}
        pairs = [(name, clip) for name in manifests for clip in clips]
        for name, clip in tqdm(pairs, "drive", leave=False, disable=None):
            manifest = manifests[name]
            figures = drive(served, clip, manifest, models_dir, analyzer, Path(made))
            estimates |= {(system, clip.path.stem, name): each for system, each in figures.items()}
    for target in manifests:
        for system in (SERVED, CONVERTED):
            estimates[system, EVERY, target] = average_all(
                [each for (which, _, driven), each in estimates.items() if (which, driven) == (system, target)]
            )
    for system in (SERVED, CONVERTED):
        means = [each for (which, clip, _), each in estimates.items() if (which, clip) == (system, EVERY)]
        estimates[system, EVERY, EVERY] = average_all(means)
    return ClipEvaluation(
        bundles={name: hash_bundle(manifest) for name, manifest in manifests.items()},
        clips=tuple(clip.path.stem for clip in clips),
        figures=tuple(
            make_figure(system, "clips", driver, target, name, each)
            for (system, driver, target), figures in estimates.items()
            for name, each in figures.items()
        ),
    )


def list_clips(folder: Path) -> list[Path]:
    """The videos of a folder by name. Raises SourceError where it has none."""
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in CLIP_SUFFIXES)
    if not paths:
        raise SourceError(f"There are no clips in {folder} ({', '.join(sorted(CLIP_SUFFIXES))}).")
    return paths


def film(path: Path, analyzer: FaceAnalyzer) -> FilmedClip:
    """Look at a clip's frames, each alone."""
    source = VideoSource([path])
    count = sum(isinstance(each, Frame) for each in source.read())
    rows = np.unique(np.linspace(0, count - 1, MOST_FRAMES).round().astype(int)).tolist()
    seen = look_at(read_frames(path, rows), analyzer)
    block = max(1, round(BLOCK_SECONDS * (source.files[0].fps or 25.0) * len(rows) / count))
    return FilmedClip(path, rows, [each.landmarks for each in seen], Timeline(np.zeros(len(rows), np.int64), block))


def read_frames(path: Path, rows: Sequence[int]) -> list[Image8]:
    """The frames of these numbers, ascending."""
    wanted = set(rows)
    frames = (each for each in VideoSource([path]).read() if isinstance(each, Frame))
    return [frame.image for number, frame in enumerate(frames) if number in wanted]


def look_at(pictures: Sequence[Image8], analyzer: FaceAnalyzer, expected: Points | None = None) -> list[Observation]:
    """What is seen in each picture."""
    with ThreadPoolExecutor(count_workers()) as threads:
        return list(threads.map(lambda picture: analyzer.look(picture, expected), pictures))


def drive(
    served: ServedFaces,
    clip: FilmedClip,
    manifest: BundleManifest,
    models_dir: Path,
    analyzer: FaceAnalyzer,
    folder: Path,
) -> dict[str, Mapping[str, Estimate]]:
    """The figures of one clip and target: as found again in the job's video, and of the converted landmarks alone."""
    result = folder / f"{clip.path.stem}-{manifest.target}.mp4"
    served.reenact_video(manifest.target, clip.path, result)
    scheme, neutral = get_scheme(analyzer.scheme), np.array(manifest.neutral, np.float32)
    seen = look_at(read_frames(result, clip.rows), analyzer, neutral)
    result.unlink()
    reference = analyzer.look(read_reference(manifest, models_dir), neutral).descriptor
    found = compare(clip, [each.landmarks for each in seen], scheme, scheme)
    rows = [{"face_found": float(each.landmarks is not None)} for each in seen]
    for row, each in zip(rows, seen, strict=True):
        if each.descriptor is not None and reference is not None:
            row["id"] = float(np.linalg.norm(each.descriptor - reference))
    means = {name: estimate_mean(values, clip.timeline) for name, values in collect(rows).items()}
    found |= {name: each for name, each in means.items() if each is not None}
    converted = convert(clip.landmarks, scheme, manifest)
    return {SERVED: found, CONVERTED: compare(clip, converted, scheme, get_scheme(manifest.scheme))}


def compare(
    clip: FilmedClip, shown: Sequence[Points | None], scheme: Scheme, shown_scheme: Scheme
) -> dict[str, Estimate]:
    """Rank correlations of each measure, driver against what is shown, and the mean error of the gaze."""
    given, found = (
        collect(
            [
                {} if points is None else {name: float(value) for name, value in measure_kept(points, each).items()}
                for points in faces
            ]
        )
        for faces, each in ((clip.landmarks, scheme), (shown, shown_scheme))
    )
    estimates: dict[str, Estimate | None] = {}
    for name in given.keys() & found.keys():
        estimates[name] = estimate_rank_correlation(given[name], found[name], clip.timeline)
        if name in GAZE:
            estimates[f"{name}_error"] = estimate_mean(np.abs(given[name] - found[name]), clip.timeline)
    kept = {name: each for name, each in estimates.items() if each is not None}
    if "right_eye" in kept and "left_eye" in kept:
        kept["eyes"] = average([kept["right_eye"], kept["left_eye"]])
    return kept


def convert(landmarks: Sequence[Points | None], scheme: Scheme, manifest: BundleManifest) -> list[Points | None]:
    """The landmarks that the target's generator gets, calibrated on these frames: no tracking, no smoothing."""
    wanted, placed = get_scheme(manifest.scheme), []
    for points in landmarks:
        try:
            face = None if points is None else convert_scheme(points, scheme, wanted)
            placed.append(None if face is None else find_crop(face, manifest.crop).to_unit(face))
        except LandmarksError:
            placed.append(None)
    known = [each for each in placed if each is not None]
    if not known:
        return placed
    neutral, calibration = find_neutral(np.stack(known), wanted, WATCHED), Calibration(manifest)
    tilt = TiltRange(manifest)
    excess = tilt.find_excess(np.stack(known))
    level = calibration.convert(tilt.turn(np.stack(known), -excess), neutral)
    converted = iter(tilt.turn(level, excess))
    return [None if each is None else next(converted) for each in placed]


def average_all(figures: Sequence[Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """The mean of each figure over those that have it."""
    names = dict.fromkeys(name for each in figures for name in each)
    return {name: average([each[name] for each in figures if name in each]) for name in names}


def build_clip_tables(evaluation: ClipEvaluation) -> list[Table]:
    """A row for each clip, for each target and over both; and what is left in the landmarks before any picture."""
    found = {(each.system, each.driver, each.target, each.metric): each for each in evaluation.figures}

    def list_row(label: str, system: str, driver: str, target: str, columns: Sequence[Column]) -> tuple[str, list[str]]:
        return label, [format_cell(found.get((system, driver, target, each.metric)), each.digits) for each in columns]

    tables = []
    for title, columns in (("Expression, driver to result", EXPRESSION), ("Whose face, and gaze", OTHERS)):
        groups = []
        for target in (*evaluation.bundles, EVERY):
            rows = [list_row(clip, SERVED, clip, target, columns) for clip in evaluation.clips if target != EVERY]
            rows.append(list_row("mean", SERVED, EVERY, target, columns))
            rows.append(list_row("mean, converted landmarks", CONVERTED, EVERY, target, columns))
            groups.append(Group("all targets" if target == EVERY else target, rows))
        note = f"{MOST_FRAMES} frames of each clip at most, as a video job makes them; 95 % intervals."
        tables.append(Table(title, note, [each.title for each in columns], groups))
    return tables
