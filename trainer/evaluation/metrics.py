"""What a generated picture is worth beside the real one. Pictures are ``(H, W, 3)`` uint8 RGB; figures defined here.

Box: the bounding box of the face's landmarks. Over a plain background a blurred face still scores well; in the box it
does not. Landmarks are in crop units, in which the picture covers [0, 1] x [0, 1].
"""

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

from shared.landmarks import Points, Scheme
from shared.pixels import Image8


def measure_psnr(generated: Image8, real: Image8) -> float:
    """Peak signal-to-noise ratio in dB over all pixels and channels."""
    error = np.square(generated.astype(np.float64) - real).mean()
    return float(10 * np.log10(255**2 / max(error, 1e-10)))


def map_ssim(generated: Image8, real: Image8) -> NDArray[np.float64]:
    """SSIM of every pixel and channel, (H, W, 3), as Wang et al. (2004) define it: Gaussian window of sigma 1.5."""
    # scikit-image ships types for some functions, and none for this one.
    _, ssim = structural_similarity(  # type: ignore[no-untyped-call]
        generated,
        real,
        channel_axis=2,
        data_range=255,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        full=True,
    )
    return np.asarray(ssim, np.float64)


def find_box(landmarks: Points, size: int) -> tuple[slice, slice]:
    """Rows and columns of the landmarks' bounding box in a crop of `size` pixels; landmarks in crop units."""
    low = np.clip(np.floor(landmarks.min(axis=0) * size), 0, size - 2).astype(int)
    high = np.clip(np.ceil(landmarks.max(axis=0) * size), low + 2, size).astype(int)
    return slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))


def measure_gradient_energy(picture: Image8) -> float:
    """Mean squared difference of neighbouring pixels' luma, down and across: high where there is detail."""
    luma = picture.astype(np.float64) @ np.array([0.299, 0.587, 0.114])
    return float(np.square(np.diff(luma, axis=0)).mean() + np.square(np.diff(luma, axis=1)).mean())


def measure_lmk(found: Points, wanted: Points) -> tuple[float, float]:
    """The paper's LMK of landmarks (N, 2) in [0, 1]: the l2 norm over all points, and the mean distance of a point."""
    difference = found.astype(np.float64) - wanted
    return float(np.linalg.norm(difference)), float(np.linalg.norm(difference, axis=1).mean())


def measure_landmark_error(found: Points, wanted: Points, scheme: Scheme) -> float:
    """Mean distance of a point in percent of the distance between the wanted eyes' outer corners."""
    outer = wanted[[scheme.eye_corners[0], scheme.eye_corners[3]]].astype(np.float64)
    return 100 * measure_lmk(found, wanted)[1] / max(float(np.linalg.norm(outer[0] - outer[1])), 1e-12)


def compare_pictures(generated: Image8, real: Image8, landmarks: Points) -> dict[str, float]:
    """Every figure of a picture generated from the landmarks (N, 2) of the real one."""
    box = find_box(landmarks, len(real))
    ssim = map_ssim(generated, real)
    return {
        "psnr": measure_psnr(generated, real),
        "psnr_box": measure_psnr(generated[box], real[box]),
        "ssim": float(ssim.mean()),
        "ssim_box": float(ssim[box].mean()),
        "gradient_energy_box": measure_gradient_energy(generated[box]) / max(measure_gradient_energy(real[box]), 1e-12),
    }
