"""The four trials that every system goes through, and the figures of each. docs/evaluation.md defines them.

own      the target from its own frames             picture against picture, landmarks against landmarks
cross    the target from another person's frames     whose face it is; whether the expression arrives
cycle    back from the target made to the driver     the paper's LMK and SSIM
stills   the target from photos of strangers         whose face it is
"""

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from shared.bundle import BundleManifest
from shared.landmarks import CONVERSIONS, IBUG68, Scheme, get_scheme
from shared.pixels import Image8
from trainer.errors import ScoredFolderError
from trainer.evaluation.baselines import Shot, System
from trainer.evaluation.drivers import Clip, Still, measure_kept
from trainer.evaluation.face_analyzer import FaceAnalyzer, Observation, count_workers
from trainer.evaluation.figures import choose_frames
from trainer.evaluation.intervals import Estimate, Timeline, collect, estimate_mean, estimate_rank_correlation
from trainer.evaluation.metrics import compare_pictures, find_box, map_ssim, measure_landmark_error, measure_lmk

Descriptor = NDArray[np.float64]
Estimates = dict[str, Estimate]
Row = TypeVar("Row")


@dataclass(frozen=True)
class Identity:
    """Whose faces there are: a descriptor of each target's reference picture, and of each still face that has one."""

    targets: Mapping[str, Descriptor]
    stills: Sequence[Descriptor | None]


@dataclass(frozen=True)
class Crossed:
    """What the trial `cross` leaves: its figures, what was seen in each picture, and the pictures to be shown."""

    figures: Estimates
    observations: Sequence[Observation]
    shown: Sequence[Image8]


def can_drive(clip: Clip, manifest: BundleManifest) -> bool:
    """Whether the service takes the clip's landmarks for this target."""
    return _fits(clip.scheme, get_scheme(manifest.scheme))


def try_own(system: System, clip: Clip, analyzer: FaceAnalyzer) -> Estimates:
    """The target made from its own test frames against these; empty where the system has no such pictures."""
    shots = list_own(clip)
    scheme = get_scheme(analyzer.scheme)

    def judge(index: int, made: Image8) -> dict[str, float]:
        found = analyzer.look(made).landmarks
        row = compare_pictures(made, clip.crops[index], clip.units[index]) | {"face_found": float(found is not None)}
        if found is not None:
            row["landmark_error"] = measure_landmark_error(found, clip.units[index], scheme)
        return row

    return _average(_run(system, shots, judge), clip.timeline)


def try_real(clip: Clip, analyzer: FaceAnalyzer, identity: Identity) -> Estimates:
    """What the real frames themselves come out at: no system can be told to be better."""
    scheme = get_scheme(analyzer.scheme)

    def judge(index: int) -> dict[str, float]:
        observation = analyzer.look(clip.crops[index], clip.units[index])
        row = {"face_found": float(observation.landmarks is not None)}
        if observation.landmarks is not None:
            row["landmark_error"] = measure_landmark_error(observation.landmarks, clip.units[index], scheme)
        if observation.descriptor is not None and clip.name in identity.targets:
            row["id"] = float(np.linalg.norm(observation.descriptor - identity.targets[clip.name]))
        return row

    with ThreadPoolExecutor(count_workers()) as threads:
        return _average(list(threads.map(judge, range(len(clip)))), clip.timeline)


def try_cross(
    system: System, clip: Clip, manifest: BundleManifest, analyzer: FaceAnalyzer, identity: Identity
) -> Crossed:
    """The target made from another person's test frames; no `observations` where the system has no such pictures."""
    target = manifest.target
    place = np.array(manifest.neutral, np.float32)
    columns = choose_frames(clip.measures)

    def judge(index: int, made: Image8) -> tuple[Observation, Image8 | None]:
        return analyzer.look(made, place), made if index in columns else None

    seen = _run(system, list_cross(clip, target), judge)
    if not seen:
        return Crossed({}, [], [])
    observations = [observation for observation, _ in seen]
    rows = [{"face_found": float(observation.landmarks is not None)} for observation in observations]
    for row, observation in zip(rows, observations, strict=True):
        if observation.descriptor is not None:
            row["id"] = float(np.linalg.norm(observation.descriptor - identity.targets[target]))
        if observation.landmarks is not None:
            row |= {
                name: float(value)
                for name, value in measure_kept(observation.landmarks, get_scheme(analyzer.scheme)).items()
            }
    series = collect(rows)
    means = {name: estimate_mean(series[name], clip.timeline) for name in ("face_found", "id") if name in series}
    figures = {name: each for name, each in means.items() if each is not None}
    kept = estimate_kept(clip, {name: series[name] for name in clip.measures if name in series})
    return Crossed(
        figures | kept | estimate_second(clip, observations),
        observations,
        [picture for column in columns if (picture := seen[column][1]) is not None],
    )


def estimate_kept(clip: Clip, found: Mapping[str, NDArray[np.float64]]) -> Estimates:
    """Rank correlation of each measure, driver against result: over all frames, and where the driver moves."""
    figures: Estimates = {}
    for name, values in found.items():
        moving = clip.moving[name]
        everywhere = estimate_rank_correlation(clip.measures[name], values, clip.timeline)
        there = estimate_rank_correlation(clip.measures[name][moving], values[moving], clip.timeline.keep(moving))
        figures |= {key: each for key, each in ((name, everywhere), (f"moving_{name}", there)) if each is not None}
    return figures


def try_second(clip: Clip, analyzer: FaceAnalyzer) -> Estimates:
    """What the second reader makes of the driver's own frames: how well it reads the driver at all."""
    with ThreadPoolExecutor(count_workers()) as threads:
        return estimate_second(clip, list(threads.map(analyzer.look, clip.crops, clip.units)))


def estimate_second(clip: Clip, observations: Sequence[Observation]) -> Estimates:
    """Rank correlation of each measure, driver against what the second reader finds, over all frames."""
    rows = [{} if each.second is None else dict(measure_kept(each.second, IBUG68)) for each in observations]
    series = collect([{name: float(value) for name, value in row.items()} for row in rows])
    estimates = {
        name: estimate_rank_correlation(clip.measures[name], values, clip.timeline) for name, values in series.items()
    }
    return {f"second_{name}": each for name, each in estimates.items() if each is not None}


def try_cycle(
    system: System,
    clip: Clip,
    other: Clip,
    observations: Sequence[Observation],
    driver: BundleManifest,
    analyzer: FaceAnalyzer,
) -> Estimates:
    """The driver made from what was seen in the target made of it, against the frame it all began with.

    `other` is the target's own clip, whose neutral shape the second way starts from. A face that was not found again
    counts in `face_found` alone.
    """
    if not observations or not _fits(get_scheme(analyzer.scheme), get_scheme(driver.scheme)):
        return {}
    wanted = [index for index, observation in enumerate(observations) if observation.landmarks is not None]
    shots = [
        Shot(name, driver.target, landmarks, neutral=other.neutral)
        for name, observation in zip(name_frames("cycle", clip, other.name), observations, strict=True)
        if (landmarks := observation.landmarks) is not None
    ]

    def judge(number: int, made: Image8) -> dict[str, float]:
        index = wanted[number]
        found = analyzer.look(made).landmarks
        box = find_box(clip.units[index], len(made))
        ssim = map_ssim(made, clip.crops[index])
        row = {
            "ssim": float(ssim.mean()),
            "ssim_box": float(ssim[box].mean()),
            "face_found": float(found is not None),
        }
        if found is not None:
            row["lmk"], row["lmk_point"] = measure_lmk(found, clip.units[index])
        return row

    judged = _run(system, shots, judge)
    rows: list[dict[str, float]] = [{"face_found": 0.0} for _ in observations]
    for index, row in zip(wanted, judged, strict=False):
        rows[index] = row
    return _average(rows, clip.timeline) if judged else {}


def try_stills(
    system: System, stills: Sequence[Still], manifest: BundleManifest, analyzer: FaceAnalyzer, identity: Identity
) -> tuple[Estimates, Sequence[Image8]]:
    """The target made from photos of strangers: is it nearer to the target's reference than to the stranger?"""
    target = manifest.target
    place = np.array(manifest.neutral, np.float32)

    def judge(index: int, made: Image8) -> tuple[dict[str, float], Image8]:
        observation = analyzer.look(made, place)
        row = {"face_found": float(observation.landmarks is not None)}
        if observation.descriptor is not None:
            row["id"] = float(np.linalg.norm(observation.descriptor - identity.targets[target]))
            stranger = identity.stills[index]
            if stranger is not None:
                row["id_to_source"] = float(np.linalg.norm(observation.descriptor - stranger))
                row["nearer_target"] = float(row["id"] < row["id_to_source"])
        return row, made

    judged = _run(system, list_stills(stills, target), judge)
    timeline = Timeline(np.arange(len(stills)), block=1)
    return _average([row for row, _ in judged], timeline), [made for _, made in judged]


def list_own(clip: Clip) -> list[Shot]:
    """The shots of the trial `own`."""
    names = name_frames("own", clip, clip.name)
    return [Shot(name, clip.name, points, clip.neutral) for name, points in zip(names, clip.points, strict=True)]


def list_cross(clip: Clip, target: str) -> list[Shot]:
    """The shots of the trial `cross`."""
    names = name_frames("cross", clip, target)
    return [Shot(name, target, points, clip.neutral) for name, points in zip(names, clip.points, strict=True)]


def list_stills(stills: Sequence[Still], target: str) -> list[Shot]:
    """The shots of the trial `stills`."""
    return [
        Shot(f"stills/{target}/{still.name}-{still.face}", target, still.landmarks, still=still) for still in stills
    ]


def name_frames(trial: str, clip: Clip, target: str) -> list[str]:
    """The places of a trial's pictures, one for each frame of the clip."""
    return [f"{trial}/{clip.name}-{target}/{row:06d}" for row in clip.rows]


def _run(system: System, shots: Sequence[Shot], judge: Callable[[int, Image8], Row]) -> list[Row]:
    """Judge each shot's picture, several at a time; empty where the system has none of them.

    Raises ScoredFolderError where it has some and not others: the mean would be of those that came out well.
    """

    def run(index: int) -> Row | None:
        made = system.make(shots[index])
        return None if made is None else judge(index, made)

    if not shots:
        return []
    title = f"{system.name}: {shots[0].name.rpartition('/')[0]}"
    with ThreadPoolExecutor(count_workers() + 1) as threads:  # one more than cores: some wait for the service
        rows = list(tqdm(threads.map(run, range(len(shots))), title, len(shots), leave=False, disable=None))
    missing = [shot.name for shot, row in zip(shots, rows, strict=True) if row is None]
    if missing and len(missing) < len(shots):
        raise ScoredFolderError(
            f"{system.name} lacks {len(missing)} of the {len(shots)} pictures like {missing[0]}.png. Make all or none."
        )
    return [row for row in rows if row is not None]


def _average(rows: Sequence[Mapping[str, float]], timeline: Timeline) -> Estimates:
    estimates = {name: estimate_mean(values, timeline) for name, values in collect(rows).items()}
    return {name: each for name, each in estimates.items() if each is not None}


def _fits(source: Scheme, wanted: Scheme) -> bool:
    return source.name == wanted.name or (source.name, wanted.name) in CONVERSIONS
