"""The systems that are compared: each makes the target's face of a driver's, and knows nothing of how it is judged."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from PIL import Image
from scipy.ndimage import map_coordinates
from scipy.spatial import Delaunay

from shared.bundle import BundleManifest
from shared.landmarks import Points, convert_scheme, guess_scheme
from shared.pixels import Image8
from trainer.data.dataset import FrameDataset
from trainer.errors import ScoredFolderError
from trainer.evaluation.drivers import Still
from trainer.evaluation.served_faces import ServedFaces

EDGE_POINTS = 5
"""Along each side of a warped picture: they keep it in its frame."""


@dataclass(frozen=True)
class Shot:
    """One picture to be made.

    `name` is its place in a folder, without a suffix. `landmarks` (N, 2) are the driver's, of any scale and place, and
    `neutral` its neutral shape, where it is known. `still` is the photo that the driver's face is on, if it is on one.
    """

    name: str
    target: str
    landmarks: Points
    neutral: Points | None = None
    still: Still | None = None


class System(Protocol):
    """Makes pictures. Several threads may ask at once."""

    @property
    def name(self) -> str:
        """Under which its figures are kept."""

    @property
    def needs_neutral(self) -> bool:
        """It can make nothing of a shot without a neutral shape."""

    def make(self, shot: Shot) -> Image8 | None:
        """The target's face as the shot asks; None where the system has none to give."""


class Served:
    """A service, with or without the converter, with or without the driver's neutral shape."""

    def __init__(self, name: str, served: ServedFaces, convert: bool = True, calibrated: bool = False) -> None:
        self.name = name
        self.served = served
        self.convert = convert
        self.needs_neutral = calibrated
        self.targets = served.list_targets()

    def make(self, shot: Shot) -> Image8 | None:
        """Photos go to /reenact, as they are; landmarks to /synthesize. None of a target that is not served."""
        if shot.target not in self.targets:
            return None
        if shot.still is not None and self.convert and not self.needs_neutral:
            return self.served.reenact(shot.target, shot.still.picture, shot.still.face)
        neutral = shot.neutral if self.needs_neutral else None
        return self.served.synthesize(shot.target, shot.landmarks, self.convert, neutral)


class NearestFrame:
    """The target's training frame whose landmarks are nearest to the converted ones: l2 in crop units, all points."""

    name = "nearest"
    needs_neutral = False

    def __init__(self, served: ServedFaces, datasets: Mapping[str, FrameDataset]) -> None:
        self.served = served
        self.datasets = datasets
        self.landmarks = {name: dataset.landmarks("train") for name, dataset in datasets.items()}
        self.rows = {name: dataset.indices("train") for name, dataset in datasets.items()}

    def make(self, shot: Shot) -> Image8:
        """A copy of that frame's crop."""
        wanted = self.served.convert(shot.target, shot.landmarks)
        wanted = convert_scheme(wanted, guess_scheme(len(wanted)), self.datasets[shot.target].scheme)
        distance = np.square(self.landmarks[shot.target] - wanted).sum(axis=(1, 2))
        return np.asarray(self.datasets[shot.target].all_crops[self.rows[shot.target][int(distance.argmin())]])


class WarpedReference:
    """The target's reference picture, each triangle of its landmarks moved to the converted ones."""

    name = "warp"
    needs_neutral = False

    def __init__(self, served: ServedFaces, manifests: Mapping[str, BundleManifest], models_dir: Path) -> None:
        self.served = served
        self.references = {name: read_reference(manifest, models_dir) for name, manifest in manifests.items()}
        self.landmarks = {name: np.array(manifest.neutral, np.float32) for name, manifest in manifests.items()}

    def make(self, shot: Shot) -> Image8:
        """The reference picture, warped."""
        wanted = self.served.convert(shot.target, shot.landmarks)
        return warp_triangles(self.references[shot.target], self.landmarks[shot.target], wanted)


class ScoredFolder:
    """Pictures that another program made of what `write_drivers` wrote."""

    needs_neutral = False

    def __init__(self, name: str, folder: Path, sizes: Mapping[str, int]) -> None:
        """`sizes` of the pictures of each target, in pixels a side. Raises ScoredFolderError where there is nothing."""
        self.name = name
        self.folder = folder
        self.sizes = sizes
        if not any(folder.rglob("*.png")):
            raise ScoredFolderError(
                f"There are no pictures of {name} in {folder}. `make evaluate ARGS='--write-drivers DIR'` writes what "
                "to make them of, and its index.json their names."
            )

    def make(self, shot: Shot) -> Image8 | None:
        """The picture of the shot's name. Raises ScoredFolderError where it can't be read or has another size."""
        path = self.folder / f"{shot.name}.png"
        if not path.is_file():
            return None
        try:
            with Image.open(path) as picture:
                image = np.asarray(picture.convert("RGB"))
        except OSError as error:
            raise ScoredFolderError(f"{path} can't be read: {error}") from error
        size = self.sizes[shot.target]
        if image.shape[:2] != (size, size):
            raise ScoredFolderError(f"{path} has {image.shape[1]}x{image.shape[0]} pixels; expected are {size}x{size}.")
        return image


def read_reference(manifest: BundleManifest, models_dir: Path) -> Image8:
    """A bundle's reference picture (S, S, 3)."""
    with Image.open(models_dir / manifest.target / manifest.reference.file) as picture:
        return np.asarray(picture.convert("RGB"))


def warp_triangles(picture: Image8, landmarks: Points, wanted: Points) -> Image8:
    """A picture (S, S, 3) with its `landmarks` (N, 2) moved to `wanted` (N, 2), both in crop units.

    Affine inside each triangle of a Delaunay triangulation of `wanted` and the picture's edge, which stays.
    """
    size = len(picture)
    along = np.linspace(0, 1, EDGE_POINTS)
    edge = np.array([(x, y) for x in along for y in along if x in (0, 1) or y in (0, 1)])
    inside = np.clip(wanted.astype(np.float64), 1e-3, 1 - 1e-3)
    mesh = Delaunay(np.concatenate([inside, edge]))
    sources = np.concatenate([landmarks.astype(np.float64), edge])
    axis = (np.arange(size) + 0.5) / size
    pixels = np.stack(np.meshgrid(axis, axis), axis=-1).reshape(-1, 2)  # (S*S, 2) x, y
    triangle = mesh.find_simplex(pixels)
    frames = mesh.transform[triangle]  # (S*S, 3, 2): barycentric coordinates as an affine map
    first = np.einsum("nij,nj->ni", frames[:, :2], pixels - frames[:, 2])
    weights = np.concatenate([first, 1 - first.sum(axis=1, keepdims=True)], axis=1)  # (S*S, 3)
    places = np.einsum("ni,nij->nj", weights, sources[mesh.simplices[triangle]]) * size - 0.5
    rows_columns = places.T[::-1].reshape(2, size, size)
    warped = [map_coordinates(picture[..., channel], rows_columns, order=1, mode="nearest") for channel in range(3)]
    return np.stack(warped, axis=-1)
