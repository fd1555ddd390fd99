"""A face put back into the picture that its crop was cut from: inside the face's own outline, in the picture's light.

The face is stretched to the one it covers; hair, ears and background of its picture stay out. Its colours take on
mean and spread of those that they cover (Reinhard et al. 2001), and what still differs along the seam is spread
smoothly over the face, as a membrane would be (Pérez et al. 2003), on a coarse grid.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageChops, ImageDraw, ImageFilter

from shared.detectors.pyramid import halve_array
from shared.geometry import BICUBIC_REACH, Crop, cut_crop
from shared.landmarks import Points, guess_scheme
from shared.pixels import Image8

Plane = NDArray[np.float32]

GRID = 48  # cells a side, on which colours are compared: light varies no faster
# What a patch is fitted by: the mouth is left out, for how far it is open is the patch's own.
FITTED = ("jaw", "right_brow", "left_brow", "nose_bridge", "nose_base", "right_eye", "left_eye")
STRETCHES = 0.5, 2.0  # beyond these no two faces differ: one of them is a detector's slip
FOREHEAD = 0.4  # brows are raised by this share of their distance from the nose's base: no seam runs through them
MARGIN = 0.08  # by which the patch's outline shrinks: its background stays out where landmarks are a little off
EDGE = 0.03  # crop sides: sigma of the outline's soft edge
SEAM_SIGMAS = (0.25, 0.06, 0.03)  # crop sides: how far a difference along the seam reaches, from coarse to fine
# Of lightness and both colours: grey levels; more along the seam is hair, glasses or background, and no light.
MOST_DIFFERENCE = np.array([64, 24, 24], np.float32)
# Of the same: least and most. More than a little would make noise and blemishes loud.
SPREADS = np.array([[0.6, 1.1], [0.0, 1.1], [0.0, 1.1]], np.float32)
LARGE = 16 * GRID  # pixels of a crop's side; of a larger one colours are compared in a copy of half the size
PASTED_AT_ONCE = 1 << 18  # pixels: as floats, the whole of a large picture would take a dozen times its memory

# Lightness and two opponent colours, as in YCbCr: linear, so that the way there and back is one matrix each.
OPPONENT = np.array([[0.299, 0.587, 0.114], [-0.169, -0.331, 0.5], [0.5, -0.419, -0.081]], np.float32)
RGB = np.linalg.inv(OPPONENT).astype(np.float32)


@dataclass(frozen=True)
class Patch:
    """A face to paste: its picture ``(S, S, 3)`` and landmarks ``(N, 2)``, and those of the face that it covers.

    Both landmarks are in units of the crop; of any scheme.
    """

    picture: Image8
    points: Points
    covered: Points


def paste_face(image: Image8, patch: Patch, crop: Crop) -> Image8:
    """A copy of the picture with the patch in its crop; as it is where the crop lies outside.

    The patch shows inside the outlines of both faces, with a soft edge. Raises LandmarksError for a count of landmarks
    that no scheme has.
    """
    result = image.copy()
    paste_into(result, patch, crop)
    return result


def paste_into(image: Image8, patch: Patch, crop: Crop) -> None:
    """As `paste_face`, into the picture itself, which may be too large to be there twice."""
    patch = fit_patch(patch)
    size = patch.picture.shape[0]
    mask = draw_mask(patch, size)
    face = match_colours(patch.picture, _sample_colours(image, crop), mask)
    _place(image, face, mask, crop)


def fit_patch(patch: Patch) -> Patch:
    """The patch stretched, sheared and moved to where jaw, brows, eyes and nose of the face below it are.

    Else what sticks out of a narrower face, or of one turned less, would be seen beside it: a brow, half an eye.
    """
    groups = guess_scheme(len(patch.points)).groups
    rows = [row for name in FITTED for row in groups[name]]
    here, there = patch.points[rows].astype(np.float64), patch.covered[rows].astype(np.float64)
    centre = here.mean(axis=0)
    linear, *_ = np.linalg.lstsq(here - centre, there - there.mean(axis=0), rcond=None)  # (2, 2)
    scales = np.linalg.svd(linear, compute_uv=False)
    if not (STRETCHES[0] < scales[1] and scales[0] < STRETCHES[1]):
        return patch
    moved = there.mean(axis=0)
    points = (patch.points - centre) @ linear + moved
    size = patch.picture.shape[0]
    inverse = np.linalg.inv(linear)  # (x', y') in crop units -> (x, y): rows are vectors
    shift = (centre - moved @ inverse) * size
    coefficients = (inverse[0, 0], inverse[1, 0], shift[0], inverse[0, 1], inverse[1, 1], shift[1])
    picture = Image.fromarray(patch.picture).transform(
        (size, size), Image.Transform.AFFINE, coefficients, Image.Resampling.BICUBIC
    )
    return Patch(np.asarray(picture), points.astype(np.float32), patch.covered)


def draw_mask(patch: Patch, size: int) -> Image.Image:
    """Where a patch shows, ``(size, size)``: 255 inside both faces, falling softly to 0 at the nearer outline."""
    mask = Image.new("L", (size, size), 255)
    for points, shrink in ((patch.points, MARGIN), (patch.covered, 0.0)):
        inside = Image.new("L", (size, size), 0)
        outline = _find_outline(points)
        outline += np.float32(shrink) * (outline.mean(axis=0) - outline)
        corners = [(float(x) * size, float(y) * size) for x, y in _convex_hull(outline)]
        ImageDraw.Draw(inside).polygon(corners, fill=255)
        mask = ImageChops.multiply(mask, inside)
    soft = mask.filter(ImageFilter.GaussianBlur(EDGE * size))
    return soft.point([max(0, 2 * level - 255) for level in range(256)])  # the blur's outer half goes


def match_colours(face: Image8, covered: Image8, mask: Image.Image) -> Image8:
    """A face ``(S, S, 3)`` in the colours and light of what it covers, ``(GRID, GRID, 3)``, where the mask is."""
    cut = Image.fromarray(face)
    cut.putalpha(mask)
    # Pillow weighs colours by alpha: what the mask leaves out is in no cell.
    cells = np.asarray(cut.resize((GRID, GRID), Image.Resampling.BOX), np.float32)
    alpha: Plane = cells[..., 3:] / np.float32(255)
    if float(alpha.sum()) < 1:
        return face
    there, here = covered.astype(np.float32) @ OPPONENT.T, cells[..., :3] @ OPPONENT.T
    (mean_there, spread_there), (mean_here, spread_here) = _weigh(there, alpha), _weigh(here, alpha)
    gain = np.clip(spread_there / spread_here, SPREADS[:, 0], SPREADS[:, 1])
    difference = there - (mean_there + (here - mean_here) * gain)
    field = _spread_seam(np.clip(difference, -MOST_DIFFERENCE, MOST_DIFFERENCE), 4 * alpha * (1 - alpha))
    matrix = OPPONENT.T * gain @ RGB.T  # (3, 3): RGB to RGB
    offset = (field + mean_there - mean_here * gain) @ RGB.T  # (GRID, GRID, 3)
    size = (face.shape[1], face.shape[0])
    planes = [
        Image.fromarray(np.ascontiguousarray(plane)).resize(size, Image.Resampling.BICUBIC)
        for plane in np.moveaxis(offset, 2, 0)
    ]
    matched = face.astype(np.float32) @ matrix + np.stack([np.asarray(plane) for plane in planes], axis=2)
    rounded: Image8 = np.clip(np.round(matched), 0, 255).astype(np.uint8)
    return rounded


def _sample_colours(image: Image8, crop: Crop) -> Image8:
    """The crop's colours ``(GRID, GRID, 3)``."""
    while crop.side > LARGE:
        image = np.asarray(halve_array(image))
        crop = Crop(crop.x / 2, crop.y / 2, crop.side / 2)
    return cut_crop(image, crop, GRID)


def _find_outline(points: Points) -> Points:
    """Jaw, brows and as much of the forehead as is skin in most pictures."""
    groups = guess_scheme(len(points)).groups
    brows = points[[*groups["right_brow"], *groups["left_brow"]]]
    up = brows.mean(axis=0) - points[list(groups["nose_base"])].mean(axis=0)
    return np.concatenate([points, brows + np.float32(FOREHEAD) * up])


def _weigh(colours: Plane, weight: Plane) -> tuple[Plane, Plane]:
    """Mean and standard deviation (3,) of (GRID, GRID, 3) colours; one grey level at least of the latter."""
    total = weight.sum()
    mean = (colours * weight).sum(axis=(0, 1)) / total
    spread = np.sqrt((np.square(colours - mean) * weight).sum(axis=(0, 1)) / total)
    return mean, np.maximum(spread, 1)


def _spread_seam(difference: Plane, seam: Plane) -> Plane:
    """A smooth (GRID, GRID, 3) that has the differences' values where the seam (GRID, GRID, 1) is."""
    field = np.zeros_like(difference)
    cells = np.arange(GRID, dtype=np.float32)
    for sigma in SEAM_SIGMAS:
        kernel = np.exp(-np.square((cells[:, None] - cells) / (sigma * GRID)) / 2)
        rest, weight = (
            np.einsum("yi,ijc,xj->yxc", kernel, each, kernel, optimize=True)
            for each in ((difference - field) * seam, seam)
        )
        # Where no seam is near, the finer field fades to nothing.
        field = field + rest / np.maximum(weight, 0.1 * weight.max() + 1e-6)
    return field


def _place(image: Image8, face: Image8, mask: Image.Image, crop: Crop) -> None:
    shown = mask.getbbox()
    if shown is None:
        return
    scale = face.shape[0] / crop.side
    height, width = image.shape[:2]
    left, top, right, bottom = crop.box
    reach = BICUBIC_REACH * max(1.0, scale)  # pixels of the mask, whose edge the filter carries so far
    x0, y0 = (
        int(np.ceil(max(0, low, low + (edge - reach) / scale)))
        for low, edge in zip((left, top), shown[:2], strict=True)
    )
    x1, y1 = (
        int(np.floor(min(limit, high, low + (edge + reach) / scale)))
        for limit, low, high, edge in zip((width, height), (left, top), (right, bottom), shown[2:], strict=True)
    )
    if x0 >= x1 or y0 >= y1:
        return
    sources = (Image.fromarray(face), mask)
    rows = max(1, PASTED_AT_ONCE // (x1 - x0))
    for y in range(y0, y1, rows):
        under = image[y : min(y + rows, y1), x0:x1]
        shape = (under.shape[1], under.shape[0])
        box = ((x0 - left) * scale, (y - top) * scale, (x1 - left) * scale, (y + shape[1] - top) * scale)
        placed, weight = (
            np.asarray(source.resize(shape, Image.Resampling.BICUBIC, box), np.float32) for source in sources
        )
        under[...] = np.round(under + (placed - under) * (weight[..., None] / 255))


def _convex_hull(points: Points) -> list[tuple[float, float]]:
    """Andrew's monotone chain: the hull's corners in order."""
    ordered = sorted({(float(x), float(y)) for x, y in points})

    def chain(path: list[tuple[float, float]]) -> list[tuple[float, float]]:
        hull: list[tuple[float, float]] = []
        for point in path:
            while len(hull) >= 2:
                (ax, ay), (bx, by) = hull[-2], hull[-1]
                if (bx - ax) * (point[1] - ay) - (by - ay) * (point[0] - ax) > 0:
                    break
                hull.pop()
            hull.append(point)
        return hull[:-1]

    return chain(ordered) + chain(ordered[::-1])
