"""From prepared datasets to a bundle: the shared converter, the target's generator, the export."""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

import torch

from shared.landmarks import get_scheme
from trainer.batches import TargetFrames
from trainer.config import TrainingConfig
from trainer.dataset import FrameDataset, list_datasets
from trainer.device import pick_device
from trainer.errors import TargetError
from trainer.export import export_bundle
from trainer.networks.tl2f import PICTURE_SIZE
from trainer.omega import load_omega
from trainer.train_converter import ConverterLesson, ConverterModel, Identity, make_identity, train_converter
from trainer.train_tl2f import Teachers, train_tl2f


def train_target(
    target: str, config: TrainingConfig, device_name: str, data_dir: Path, runs_dir: Path, models_dir: Path
) -> Path:
    """Train one target from its prepared dataset, and export it; the bundle's folder.

    Every other prepared dataset that can teach the encoder (same scheme and crop rule, with training frames) does so.
    A run that was killed goes on where its last checkpoint was. Raises TrainerError.
    """
    device = pick_device(device_name)
    dataset = FrameDataset(data_dir / target)
    if dataset.manifest.size != PICTURE_SIZE:
        raise TargetError(
            f"The face crops of '{target}' are {dataset.manifest.size} pixels wide, the generator's pictures "
            f"{PICTURE_SIZE}. Prepare it again with --size {PICTURE_SIZE}."
        )
    scheme, rule = get_scheme(dataset.manifest.scheme), dataset.manifest.crop
    datasets = find_identities(dataset, data_dir)
    identities = {
        name: make_identity(torch.from_numpy(each.landmarks("train")), scheme) for name, each in datasets.items()
    }
    config = fit_to_scheme(config, scheme.count)

    shown = ", ".join(f"{name} ({len(each.landmarks)} frames)" for name, each in identities.items())
    print(f"Landmark converter: learning from {shown}.")
    learned_from = fingerprint_converter(datasets, config)
    lesson = ConverterLesson(identities, scheme, rule, config.converter)
    model = train_converter(lesson, config.seed, runs_dir / f"converter-{learned_from}")

    print(f"Landmark-to-face generator of {target}, on {device}.")
    frames = TargetFrames(
        landmarks=identities[target].landmarks,
        crops=dataset.crops("train"),
        neutral=identities[target].neutral,
        foreign=(foreign := gather_foreign(identities, target)),
        converted=convert(model, target, foreign),
        scheme=scheme,
        rule=rule,
    )
    omega = load_omega(models_dir / "hourglass") if config.tl2f.i2l > 0 else None
    folder = runs_dir / f"{target}-{config.preset}-{learned_from}"
    theta, converter = train_tl2f(
        target, frames, model, Teachers(lesson, omega), config.tl2f, config.seed, device, folder
    )
    return export_bundle(dataset, converter, theta, config, models_dir)


def find_identities(dataset: FrameDataset, data_dir: Path) -> Mapping[str, FrameDataset]:
    """The target's dataset and every other whose landmarks mean the same, by name, in order of name."""
    found = {dataset.manifest.target: dataset}
    for name in list_datasets(data_dir):
        if name in found:
            continue
        other = FrameDataset(data_dir / name)
        same = (other.manifest.scheme, other.manifest.crop) == (dataset.manifest.scheme, dataset.manifest.crop)
        if same and len(other.indices("train")):
            found[name] = other
    return dict(sorted(found.items()))


def fingerprint_converter(datasets: Mapping[str, FrameDataset], config: TrainingConfig) -> str:
    """What a converter is learned from, as a short hash: targets trained from the same share one converter."""
    parts = [[name, each.manifest.fingerprint] for name, each in datasets.items()]
    text = json.dumps([parts, config.seed, config.converter.model_dump(mode="json")])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def fit_to_scheme(config: TrainingConfig, points: int) -> TrainingConfig:
    """The configuration with networks for this many points."""
    network = config.converter.network.model_copy(update={"points": points})
    theta = config.tl2f.network.model_copy(update={"points": points})
    return config.model_copy(
        update={
            "converter": config.converter.model_copy(update={"network": network}),
            "tl2f": config.tl2f.model_copy(update={"network": theta}),
        }
    )


def gather_foreign(identities: Mapping[str, Identity], target: str) -> torch.Tensor:
    """Everybody else's training landmarks, (m, N, 2)."""
    others = [each.landmarks for name, each in identities.items() if name != target]
    return torch.cat(others) if others else torch.empty(0, *identities[target].landmarks.shape[1:])


@torch.no_grad()
def convert(model: ConverterModel, target: str, landmarks: torch.Tensor) -> torch.Tensor:
    """Landmarks (m, N, 2) in the target's shape."""
    converted: torch.Tensor = model.of(target)(landmarks)
    return converted
