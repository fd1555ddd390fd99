"""Whose face a picture shows, with a gradient: a face-recognition network, its weights held fixed.

It is another network than dlib's, which measures identity (`trainer.evaluation.recognition`): a measure that is learned from
measures nothing.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from shared.landmarks import Scheme
from trainer.errors import RecognitionUnavailableError
from trainer.losses.face_regions import bound_points, measure_angle
from trainer.networks.mobilenet import MobileNet

FACES_FOLDER = "faces"
FACES_FILE = "faceres.npz"
FACE_SIZE = 224
# Of its training pictures: blue, green and red, in 255ths.
MEAN = (103.939, 116.779, 123.68)
# From the brows up to the hair and a margin about it, as VGGFace2's faces were cut.
FOREHEAD, MARGIN = 0.225, 1.15


@dataclass(frozen=True)
class Likeness:
    """What was seen of pictures: descriptors (B, 1024), of length 1, and the features on the way, the finest first."""

    descriptors: Tensor
    features: list[Tensor]


class IdentityGuidance(nn.Module):
    """Pictures -> whose faces they show; two people's descriptors are about 1 apart."""

    mean: Tensor

    def __init__(self, folder: Path) -> None:
        """Read the network from the folder. Raises RecognitionUnavailableError where it is not there."""
        super().__init__()
        path = folder / FACES_FILE
        if not path.is_file():
            raise RecognitionUnavailableError(
                f"There is no {path}. Bring it back with git, or make it: python -m trainer.convert.faces"
            )
        self.network = MobileNet()
        with np.load(path) as arrays:
            self.network.load_state_dict({name: torch.from_numpy(arrays[name]) for name in arrays.files})
        self.requires_grad_(False)
        self.register_buffer("mean", torch.tensor(MEAN).view(1, 3, 1, 1), persistent=False)

    def forward(self, pictures: Tensor, landmarks: Tensor, scheme: Scheme) -> Likeness:
        """Look at the faces at these landmarks (B, N, 2) of pictures (B, 3, S, S) in [0, 1]."""
        outer_right, _, _, outer_left = scheme.eye_corners
        angle = measure_angle(landmarks[:, outer_right], landmarks[:, outer_left])
        squares = bound_points(landmarks, angle, MARGIN, FOREHEAD)
        faces = squares.cut(pictures, FACE_SIZE).flip(1) * 255 - self.mean
        pooled, features = self.network(faces)
        return Likeness(F.normalize(pooled, dim=1), features)
