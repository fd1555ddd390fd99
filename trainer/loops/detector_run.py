"""From prepared datasets, or WFLW, to the trained detector ``models/hourglass``."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from shared.bundle import Measured
from shared.detectors import LandmarkDetector
from shared.landmarks import WFLW98, get_scheme
from trainer.config import DetectorTraining
from trainer.data.dataset import FrameDataset, list_datasets, read_manifest
from trainer.data.prepare import PrepareOptions, prepare_dataset
from trainer.data.wflw import WFLW, WFLWSource
from trainer.errors import TargetError
from trainer.export.bundle import round_weights
from trainer.export.omega import export_omega
from trainer.loops.detector import measure_nme, open_faces, train_detector
from trainer.loops.device import pick_device
from trainer.networks.hourglass import Hourglass

MEASURED = 1000  # test pictures of a dataset at most: neighbouring frames say the same


def make_detector(
    wflw: Path | None,
    names: Sequence[str],
    config: DetectorTraining,
    device_name: str,
    data_dir: Path,
    runs_dir: Path,
    models_dir: Path,
) -> Path:
    """Train Omega on WFLW, on the datasets called `names`, or on all prepared ones; the folder it is exported to.

    A run that was killed goes on where its last checkpoint was. Raises TrainerError.
    """
    device = pick_device(device_name)
    if wflw is not None:
        prepare_wflw(wflw, data_dir)
        names = [WFLW.target]
    datasets = choose_datasets(names, data_dir)
    first = next(iter(datasets.values()))
    scheme = get_scheme(first.manifest.scheme)
    config = config.model_copy(update={"network": config.network.model_copy(update={"points": scheme.count})})
    check_size(first, config)

    shown = ", ".join(f"{name} ({len(each.indices('train'))} frames)" for name, each in datasets.items())
    print(f"Landmark detector, {scheme.count} points, on {device}: learning from {shown}.")
    faces = [open_faces(each, "train") for each in datasets.values()]
    omega = train_detector(faces, scheme, config, device, runs_dir / f"detector-{fingerprint(datasets, config)}")
    round_weights(omega)
    nme = measure_detector(omega, find_tests(first, data_dir))
    for name, measured in nme.items():
        print(f"{name}: NME {100 * measured.value:.2f} % on {measured.frames} test pictures.")
    return export_omega(omega, datasets, nme, config, models_dir)


def prepare_wflw(root: Path, data_dir: Path) -> None:
    """Make ``data/wflw`` from WFLW's folder; with the same lists there is nothing to do."""

    def refuse_detector(name: str) -> LandmarkDetector:
        raise AssertionError(f"{name} is not needed: WFLW's landmarks are given")

    options = PrepareOptions(scheme=WFLW98.name, split="lists")
    print(prepare_dataset(WFLWSource(root), WFLW, options, refuse_detector, data_dir).describe())


def choose_datasets(names: Sequence[str], data_dir: Path) -> Mapping[str, FrameDataset]:
    """The datasets to learn from, by name: those called `names`, or all prepared ones with training frames.

    Raises TargetError where there is none, or where they are not of one scheme, crop rule and size.
    """
    ready = [name for name in list_datasets(data_dir) if read_manifest(data_dir / name).splits.get("train", 0)]
    if missing := sorted(set(names) - set(ready)):
        raise TargetError(f"No dataset with training frames is called {', '.join(missing)}; there are: {_join(ready)}.")
    chosen = {name: FrameDataset(data_dir / name) for name in ready if not names or name in names}
    if not chosen:
        raise TargetError(
            f"There is no dataset with training frames in {data_dir}. `make data` prepares the samples; WFLW, where "
            "you have it, is taken by `make train-detector WFLW=dir`."
        )
    kinds: dict[str, list[str]] = {}
    for name, dataset in chosen.items():
        kinds.setdefault(json.dumps(_describe_kind(dataset), sort_keys=True), []).append(name)
    if len(kinds) > 1:
        raise TargetError(
            "One detector learns from datasets of one scheme, crop rule and size; these are of several: "
            f"{'; '.join(map(_join, kinds.values()))}. Name those to take: make train-detector "
            f'DATASETS="{" ".join(next(iter(kinds.values())))}".'
        )
    return chosen


def check_size(dataset: FrameDataset, config: DetectorTraining) -> None:
    """Raise TargetError where the hourglass can't halve the datasets' crops as often as it must."""
    step = 4 * 2**config.network.depth
    if dataset.manifest.size % step:
        raise TargetError(
            f"The face crops are {dataset.manifest.size} pixels wide; the detector needs a multiple of {step}. Prepare "
            "them again with --size 256."
        )


def fingerprint(datasets: Mapping[str, FrameDataset], config: DetectorTraining) -> str:
    """What a detector is learned from and how, as a short hash: a run goes on only with the same."""
    parts = [[name, each.manifest.fingerprint] for name, each in datasets.items()]
    text = json.dumps([parts, config.model_dump(mode="json")])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def find_tests(trained_on: FrameDataset, data_dir: Path) -> Mapping[str, FrameDataset]:
    """Every prepared dataset with test frames that is of the same kind, learned from or not."""
    found = {name: FrameDataset(data_dir / name) for name in list_datasets(data_dir)}
    return {
        name: each
        for name, each in found.items()
        if _describe_kind(each) == _describe_kind(trained_on) and len(each.indices("test"))
    }


def measure_detector(omega: Hourglass, datasets: Mapping[str, FrameDataset]) -> Mapping[str, Measured]:
    """The NME on each dataset's test block; of a long one, on frames spread over it."""
    figures = {}
    for name, dataset in datasets.items():
        faces = open_faces(dataset, "test")
        every = -(-len(faces.landmarks) // MEASURED) if dataset.manifest.target != WFLW.target else 1
        value = measure_nme(omega, faces, dataset.scheme, every)
        figures[name] = Measured(value=value, split="test", frames=-(-len(faces.landmarks) // every))
    return figures


def _describe_kind(dataset: FrameDataset) -> list[object]:
    manifest = dataset.manifest
    return [manifest.scheme, manifest.crop.model_dump(mode="json"), manifest.size]


def _join(names: Sequence[str]) -> str:
    return ", ".join(names) or "none"
