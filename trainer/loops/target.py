"""From prepared datasets to a bundle: the shared converter, the target's generator, the export."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch

from shared.bundle import read_bundle
from shared.detectors.manifest import HOURGLASS
from shared.detectors.mesh import MeshDetector
from shared.landmarks import get_scheme
from trainer.config import ConverterTraining, TL2FTraining, TrainingConfig
from trainer.data.dataset import FrameDataset, list_datasets
from trainer.data.wflw import WFLW
from trainer.errors import TargetError
from trainer.export.bundle import export_bundle
from trainer.export.omega import load_teacher, read_weights
from trainer.loops.converter import ConverterLosses, ConverterModel, Identity, make_identity, train_converter
from trainer.loops.device import pick_device
from trainer.loops.distributed import SINGLE_PROCESS, DistributedContext
from trainer.loops.generator import train_tl2f
from trainer.losses.generator import GuidanceNetworks
from trainer.losses.identity_guidance import FACES_FOLDER, IdentityGuidance
from trainer.losses.landmark_guidance import LandmarkGuidance
from trainer.networks.converter import Converter
from trainer.networks.tl2f import PICTURE_SIZE, TL2F, TL2FConfig
from trainer.sampling.batches import TargetFrames


@dataclass(frozen=True)
class TrainingRun:
    """All that a target is trained from. A run that was killed goes on where its last checkpoint was."""

    dataset: FrameDataset
    lesson: ConverterLosses
    config: TrainingConfig
    device: torch.device
    runs_dir: Path
    models_dir: Path
    learned_from: str  # see `fingerprint_converter`
    processes: DistributedContext = SINGLE_PROCESS

    def train_converter(self, config: ConverterTraining, folder: Path) -> ConverterModel:
        """Phi, and Psi of every identity."""
        lesson = ConverterLosses(self.lesson.identities, self.lesson.scheme, self.lesson.rule, config)
        return train_converter(lesson, self.config.seed, folder, self.processes)

    def train_generator(
        self, config: TL2FTraining, folder: Path, weights: Mapping[str, torch.Tensor] | None = None
    ) -> tuple[TL2F, Converter]:
        """Theta, and the converter trained on beside it, which all targets of the same data begin with.

        `weights` are what Theta begins with; None: Kaiming's.
        """
        omega = load_teacher(self.models_dir / HOURGLASS, self.lesson.scheme) if config.i2l > 0 else None
        mesh = LandmarkGuidance(self.models_dir / MeshDetector.name) if config.needs_mesh else None
        faces = IdentityGuidance(self.models_dir / FACES_FOLDER) if max(config.identity, config.likeness) > 0 else None
        shown = ", ".join(f"{name} ({len(each.landmarks)} frames)" for name, each in self.lesson.identities.items())
        print(f"Landmark converter: learning from {shown}.")
        model = self.train_converter(self.lesson.config, self.runs_dir / f"converter-{self.learned_from}")

        target = self.dataset.manifest.target
        print(f"Landmark-to-face generator of {target}, on {self.device}.")
        person, foreign = self.lesson.identities[target], gather_foreign(self.lesson.identities, target)
        frames = TargetFrames(
            landmarks=person.landmarks,
            crops=self.dataset.crops("train"),
            neutral=person.neutral,
            foreign=foreign,
            converted=convert(model, target, foreign),
            scheme=self.lesson.scheme,
            rule=self.lesson.rule,
            mesh_labelled=self.dataset.manifest.detector == MeshDetector.name,
        )
        teachers = GuidanceNetworks(self.lesson, omega, mesh, faces)
        seed = self.config.seed
        return train_tl2f(target, frames, model, teachers, config, seed, self.device, folder, self.processes, weights)


def train_target(
    target: str,
    config: TrainingConfig,
    device_name: str,
    data_dir: Path,
    runs_dir: Path,
    models_dir: Path,
    processes: DistributedContext = SINGLE_PROCESS,
    begin_from: str | None = None,
) -> Path | None:
    """Train one target from its prepared dataset, and export it; the bundle's folder. Raises TrainerError.

    Theta begins as that of the bundle `begin_from`, where one is named. Of several processes the first exports; for the
    others there is no bundle.
    """
    course = prepare_run(target, config, device_name, data_dir, runs_dir, models_dir, processes)
    folder = runs_dir / f"{target}-{config.preset}-{course.learned_from}"
    config, weights = course.config, None
    if begin_from is not None:
        sha256, weights = begin_as(begin_from, target, models_dir, config.tl2f.network)
        config = config.model_copy(update={"begun_from": sha256})
        folder = folder.with_name(f"{folder.name}-{sha256[:12]}")
    theta, converter = course.train_generator(config.tl2f, folder, weights)
    if not processes.is_main:
        return None
    return export_bundle(course.dataset, converter, theta, config, models_dir)


def begin_as(bundle: str, target: str, models_dir: Path, network: TL2FConfig) -> tuple[str, dict[str, torch.Tensor]]:
    """What `read_theta` reads of this bundle, for the generator of this target.

    The landmarks of somebody else are whitened in their own way, which is left out.
    """
    sha256, weights = read_theta(models_dir / bundle, network)
    if bundle != target:
        weights = {name: value for name, value in weights.items() if name not in TL2F.OF_LANDMARKS}
    return sha256, weights


def read_theta(folder: Path, network: TL2FConfig) -> tuple[str, dict[str, torch.Tensor]]:
    """The weights of a bundle's Theta, and the SHA-256 of the file that holds them.

    Raises TargetError where its network is another than `network`, and BundleError where there is no whole bundle.
    """
    file = read_bundle(folder).tl2f
    theta = TL2F(network)
    weights = read_weights(folder / file.file, set(theta.state_dict()))
    try:
        theta.load_state_dict(weights)
    except RuntimeError as error:
        raise TargetError(
            f"The generator in {folder} has other widths than the recipe's, and can't be gone on from. Begin from "
            "another bundle (--begin-from), or from the start (--preset default)."
        ) from error
    return file.sha256, weights


def prepare_run(
    target: str,
    config: TrainingConfig,
    device_name: str,
    data_dir: Path,
    runs_dir: Path,
    models_dir: Path,
    processes: DistributedContext = SINGLE_PROCESS,
) -> TrainingRun:
    """Open the target's dataset, and every other that can teach the encoder: same scheme and crop rule.

    Raises TrainerError, before any training.
    """
    device = processes.place(pick_device(device_name))
    check_shares(config, processes)
    dataset = FrameDataset(data_dir / target)
    if dataset.manifest.size != PICTURE_SIZE:
        raise TargetError(
            f"The face crops of '{target}' are {dataset.manifest.size} pixels wide, the generator's pictures "
            f"{PICTURE_SIZE}. Prepare it again with --size {PICTURE_SIZE}."
        )
    scheme = get_scheme(dataset.manifest.scheme)
    datasets = find_identities(dataset, data_dir)
    identities = {
        name: make_identity(torch.from_numpy(each.landmarks("train")), scheme) for name, each in datasets.items()
    }
    config = fit_to_scheme(config, scheme.count)
    lesson = ConverterLosses(identities, scheme, dataset.manifest.crop, config.converter)
    learned_from = fingerprint_converter(datasets, config)
    return TrainingRun(dataset, lesson, config, device, runs_dir, models_dir, learned_from, processes)


def check_shares(config: TrainingConfig, processes: DistributedContext) -> None:
    """Raise DistributedError where these processes can't share what a step learns from."""
    processes.check_share("the converter's batch", config.converter.batch)
    processes.check_share("the generator's batch", config.tl2f.batch)
    processes.check_share("the batch of the converter beside the generator", config.tl2f.converter_batch)
    if not config.tl2f.paired:
        processes.check_share("the converted landmarks of a step", config.tl2f.converted)
    processes.check_least("the pictures that Omega looks at", config.tl2f.i2l_pictures)
    processes.check_least("the pictures that D looks at", config.tl2f.gan_pictures)
    processes.check_least("the pictures whose face is recognized", config.tl2f.identity_pictures)


def find_identities(dataset: FrameDataset, data_dir: Path) -> Mapping[str, FrameDataset]:
    """The target's dataset and every other whose landmarks mean the same, by name, in order of name."""
    found = {dataset.manifest.target: dataset}
    for name in list_datasets(data_dir):
        if name in found or name == WFLW.target:  # thousands of people are no identity
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
