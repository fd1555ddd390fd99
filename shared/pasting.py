"""A face put back into the picture that its crop was cut from: inside the face's own outline, in the picture's light.

It takes the shape of the face that it covers (`shared.patch`) and its colours (`shared.face_colours`). Hair, ears and
background of its own picture stay out; hair that hangs into the picture's face stays before it.
"""

import numpy as np
from PIL import Image, ImageChops, ImageFilter

from shared.detectors.pyramid import halve_array
from shared.face_colours import GRID, Plane, find_skin, match_colours
from shared.geometry import BICUBIC_REACH, Crop, cut_crop
from shared.patch import Patch, fill_hull, find_outline, find_up, fit_patch, list_features
from shared.pixels import Image8

MARGIN = 0.06  # by which outlines shrink: what lies beside a face stays out where landmarks are a little off
EDGE = 0.03  # crop sides: sigma of the outline's soft edge
FEATURES_EDGE = 0.025  # of the edge around the features
BESIDE_FEATURES = 0.16  # of the way from nose to brows: brows and lips are as much thicker than their landmarks say
LARGE = 16 * GRID  # pixels of a crop's side; of a larger one colours are compared in a copy of half the size
PASTED_AT_ONCE = 1 << 18  # pixels: as floats, the whole of a large picture would take a dozen times its memory


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
    covered = sample_colours(image, crop)
    mask = draw_mask(patch, covered)
    face = match_colours(patch.picture, covered, mask)
    _place(image, face, mask, crop)


def draw_mask(patch: Patch, covered: Image8) -> Image.Image:
    """Where a fitted patch shows, (S, S) as its picture: 255 inside, falling softly to 0.

    Around brows, eyes, nose and mouth it shows in any case; from there to the outlines of both faces where both its
    own picture and what it covers, ``(GRID, GRID, 3)``, are skin.
    """
    size = patch.picture.shape[0]
    both = (patch.points, patch.covered)
    hulls = []
    for outline in (find_outline(points) for points in both):
        hulls.append(fill_hull(outline, size))
        hulls.append(fill_hull(outline + np.float32(MARGIN) * (outline.mean(axis=0) - outline), size))
    face = _soften(ImageChops.darker(hulls[1], hulls[3]), EDGE)
    landmarks = np.concatenate([list_features(points) for points in both])
    beside = np.float32(BESIDE_FEATURES) * find_up(patch.covered)
    features = fill_hull(np.concatenate([landmarks - beside, landmarks + beside]), size)
    features = ImageChops.darker(features, ImageChops.darker(hulls[0], hulls[2]))
    own = np.asarray(Image.fromarray(patch.picture).resize((GRID, GRID), Image.Resampling.BOX))
    cells = _to_cells(features), _to_cells(face)
    skin = find_skin(own, *cells) * find_skin(covered, *cells)
    shown = Image.fromarray(np.uint8(255 * skin[..., 0])).resize((size, size), Image.Resampling.BICUBIC)
    return ImageChops.lighter(ImageChops.multiply(face, shown), _soften(features, FEATURES_EDGE))


def sample_colours(image: Image8, crop: Crop) -> Image8:
    """The crop's colours ``(GRID, GRID, 3)``."""
    while crop.side > LARGE:
        image = np.asarray(halve_array(image))
        crop = Crop(crop.x / 2, crop.y / 2, crop.side / 2)
    return cut_crop(image, crop, GRID)


def _soften(mask: Image.Image, sigma: float) -> Image.Image:
    """A mask whose edge falls softly inwards; sigma in its sides."""
    soft = mask.filter(ImageFilter.GaussianBlur(sigma * mask.width))
    return soft.point([max(0, 2 * level - 255) for level in range(256)])  # the blur's outer half goes


def _to_cells(mask: Image.Image) -> Plane:
    """A mask as (GRID, GRID, 1), 0 to 1."""
    return np.asarray(mask.resize((GRID, GRID), Image.Resampling.BOX), np.float32)[..., None] / np.float32(255)


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
