"""Learn Omega, the differentiable landmark detector, from the faces at hand and the landmarks they come with.

Few people's faces are at hand, and Omega is to read faces that are in no footage: each step warps some of them to other
people's shapes, and shows all of them as other cameras would. The last steps show them as Theta makes them, upright and
clear, and weigh besides how far lips and lids stand apart: by a pixel or two, which is what tells a shut mouth from one
that is about to speak.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.autograd import backward
from tqdm import tqdm

from shared.landmarks import Scheme
from shared.neutral import find_neutral
from shared.pixels import Image8, to_network
from trainer.config import DetectorTraining
from trainer.data.dataset import FrameDataset, Split
from trainer.loops.checkpoint import CheckpointClock, load_checkpoint, save_checkpoint
from trainer.loops.device import autocast, place
from trainer.losses.terms import heatmap_divergence, landmark_distance, opening_distance
from trainer.networks.hourglass import Hourglass
from trainer.sampling.augment import change_light, degrade, mirror, move_heads
from trainer.sampling.face_shapes import Retarget, exaggerate, weigh_points
from trainer.sampling.warp import warp_pictures


@dataclass(frozen=True)
class LabelledFaces:
    """One person's (or one data set's) faces: landmarks (n, N, 2) in crop units, crops (n, H, W, 3)."""

    landmarks: Tensor
    crops: Image8
    neutral: Tensor  # (N, 2)


def open_faces(dataset: FrameDataset, split: Split) -> LabelledFaces:
    """The faces of one split."""
    landmarks = dataset.landmarks(split)
    return LabelledFaces(
        torch.from_numpy(landmarks), dataset.crops(split), torch.from_numpy(find_neutral(landmarks, dataset.scheme))
    )


def train_detector(
    faces: Sequence[LabelledFaces], scheme: Scheme, config: DetectorTraining, device: torch.device, folder: Path
) -> Hourglass:
    """Train, going on from ``folder/detector.pt`` where there is one. Every set of faces is drawn from alike."""
    torch.manual_seed(config.seed)
    omega = Hourglass(config.network)
    place(omega, device, torch.channels_last)
    optimiser = torch.optim.Adam(omega.parameters(), config.learning_rate)
    schedule = make_schedule(optimiser, config, fine=False)
    retarget = Retarget(scheme)
    weights = weigh_points(scheme, config.feature_weight).to(device)

    path = folder / "detector.pt"
    first = 0
    if (saved := load_checkpoint(path, config)) is not None:
        omega.load_state_dict(saved["omega"])
        first = saved["step"]
        if first > config.steps:
            schedule = make_schedule(optimiser, config, fine=True)
        schedule.load_state_dict(saved["schedule"])
        optimiser.load_state_dict(saved["optimiser"])  # Last: a new schedule sets the optimiser's rate to its first.

    def save(step: int) -> None:
        state = {"step": step, "omega": omega.state_dict()}
        state |= {"optimiser": optimiser.state_dict(), "schedule": schedule.state_dict()}
        save_checkpoint(path, config, state)

    clock = CheckpointClock()
    total = config.steps + config.fine_steps
    progress = tqdm(range(first, total), "detector", total, initial=first, unit="step")
    for step in progress:
        # What a step draws hangs on its number alone, so that a resumed run is the same run.
        torch.manual_seed(config.seed * 1_000_003 + step)
        fine = step >= config.steps
        if step == config.steps:
            schedule = make_schedule(optimiser, config, fine)
        pictures, landmarks = draw_faces(faces, scheme, config, retarget, fine)
        landmarks, pictures = landmarks.to(device), pictures.to(device, memory_format=torch.channels_last)
        with autocast(device):
            found, heatmaps = omega(pictures)
        distance = landmark_distance(found, landmarks, weights)
        few = slice(max(1, config.batch // 4))  # Enough to shape the heatmaps, and a quarter of the time.
        loss = distance + config.divergence * heatmap_divergence(heatmaps[few], landmarks[few], config.sigma)
        if fine:
            loss = loss + config.opening * opening_distance(found, landmarks, scheme)
        optimiser.zero_grad()
        backward(loss)
        optimiser.step()
        schedule.step()
        if step % 20 == 0:
            rate = config.batch * (progress.format_dict["rate"] or 0)
            progress.set_postfix(distance=f"{distance.item():.4f}", samples_s=f"{rate:.1f}", refresh=False)
        if clock.is_due():
            save(step + 1)
    if first < total:
        save(total)
    return place(omega, torch.device("cpu"), torch.contiguous_format).eval()


def make_schedule(
    optimiser: torch.optim.Optimizer, config: DetectorTraining, fine: bool
) -> torch.optim.lr_scheduler.OneCycleLR:
    """A short rise and a long cosine down, for the first steps or for the fine ones after them."""
    rate, steps = (config.fine_learning_rate, config.fine_steps) if fine else (config.learning_rate, config.steps)
    return torch.optim.lr_scheduler.OneCycleLR(optimiser, rate, steps, pct_start=0.1)


def draw_faces(
    faces: Sequence[LabelledFaces], scheme: Scheme, config: DetectorTraining, retarget: Retarget, fine: bool
) -> tuple[Tensor, Tensor]:
    """Pictures (B, 3, H, W) and landmarks (B, N, 2): as they are or reshaped, then as another camera sees them."""
    shares = torch.randint(len(faces), (config.batch,)).bincount(minlength=len(faces)).tolist()
    pictures, landmarks = [], []
    for each, count in zip(faces, shares, strict=True):
        if not count:
            continue
        chosen = torch.randint(len(each.landmarks), (count,)).tolist()
        original = each.landmarks[chosen]  # (n, N, 2)
        shown = torch.from_numpy(to_network(np.stack([each.crops[index] for index in chosen])))
        warped = int((torch.rand(count) < config.reshaped).sum())
        if warped:
            acted = exaggerate(original[:warped], each.neutral, retarget, spread=0.4)
            stranger = retarget.vary(each.neutral.expand(warped, -1, -1))
            wanted = retarget.move(acted, each.neutral, stranger)
            shown[:warped] = warp_pictures(shown[:warped], original[:warped], wanted)
            original = torch.cat([wanted, original[warped:]])
        pictures.append(shown)
        landmarks.append(original)
    mirrored = mirror(torch.cat(pictures), torch.cat(landmarks), scheme.flip)
    if fine:
        return move_heads(*mirrored, roll=0.08, zoom=0.05, shift=0.01)
    shown, moved = move_heads(*mirrored)
    return degrade(change_light(shown)), moved


@torch.no_grad()
def measure_nme(omega: Hourglass, faces: LabelledFaces, scheme: Scheme, every: int = 1) -> float:
    """Normalised mean error: the mean distance of found and given points over that of the outer eye corners (WFLW)."""
    outer_right, _, _, outer_left = scheme.eye_corners
    errors = []
    for start in range(0, len(faces.landmarks), 16 * every):
        chosen = range(start, min(start + 16 * every, len(faces.landmarks)), every)
        wanted = faces.landmarks[list(chosen)]
        found, _ = omega(torch.from_numpy(to_network(np.stack([faces.crops[index] for index in chosen]))))
        size = (wanted[:, outer_right] - wanted[:, outer_left]).norm(dim=1)
        errors.append((found - wanted).norm(dim=2).mean(dim=1) / size)
    return float(torch.cat(errors).mean())
