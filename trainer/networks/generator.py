"""Theta as a picture of the face in one fixed shape, which the landmarks then deform.

    landmarks -> codes of head, mouth and eyes -> the face in its canonical shape    what it looks like
    landmarks -> moving least squares          -> where each pixel is taken from     where it is

In the canonical shape every feature has its place. So the mouth and each eye are drawn in windows of their own, from
their own points and the head's pose: a mouth that opens can't touch an eye or a collar. Deep appearance models
(Lombardi et al. 2018) part looks from shape like this; here the textures are frames of the target, learned on.
"""

from itertools import pairwise
from typing import ClassVar, Literal

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image, ImageDraw, ImageFilter
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from shared.landmarks import Scheme, get_scheme, pick
from trainer.networks.initialisation import SLOPE, init_kaiming
from trainer.networks.moving_least_squares import MovingLeastSquares
from trainer.networks.regions import RegionCode, RegionPicture

SIZE = 256
"""Side of the picture in pixels."""

GRID = 64
"""Side of the raster on which the deformation is known; bilinear in between."""

WINDOWS = ((112, 128), (56, 72), (56, 72))
"""Height and width in pixels of the windows of mouth, right eye and left eye."""

FEATHER = 12
"""Pixels over which a window fades into what lies about it."""

COMPONENTS = (10, 16, 12, 12)
"""Of the codes of head, mouth, right eye and left eye."""

MOUTH_REACH, EYE_REACH, HEAD_REACH = 0.35, 0.25, 1.0
"""How far a point's own motion carries, in crop units."""

TEETH_SHARE = 0.35
"""Of the canonical gap between the lips, and of any gap at most: what the teeth of either jaw cover."""

BROW_THICKNESS = 0.09
"""From a brow's middle to its lower edge, in distances of the eyes' outer corners."""

CAVITY_BLUR = 2.5
"""Pixels of the canonical picture: softness of the cavity's edge."""

CAVITY_GROWTH = 0.5
"""Of the canonical gap: what a mouth opens beyond it until what lies between its teeth is all dark."""

HIDDEN, SHOWN = 0.15, 0.6
"""Shares of the canonical gap between which a contour point is trusted the more."""

MOVE_SCALE = 0.05
"""Crop units: of what the canonical points are learned to move by."""


class GeneratorConfig(BaseModel):
    """Widths of Theta, and where its windows lie, which `sampling.textures` finds for each target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["moving_textures"] = "moving_textures"
    scheme: str = "ibug70"
    textures: tuple[int, int, int] = Field(default=(3, 6, 4), description="Of the whole, the mouth and each eye.")
    hidden: int = Field(default=128, ge=1, description="Width of each region's first FC layer.")
    channels: tuple[int, int, int] = Field(default=(32, 48, 32), description="Of the maps of whole, mouth and eyes.")
    code_noise: float = Field(default=0.25, ge=0, description="Spread of what is added to codes in training.")
    corners: tuple[tuple[int, int], ...] = Field(
        default=((48, 120), (48, 56), (128, 56)), description="Upper left (x, y) of each window, in pixels."
    )


class Generator(nn.Module):
    """Theta_t: landmarks in crop units -> the target's face, RGB, about in [0, 1]."""

    MIXED_PRECISION: ClassVar = False
    """A place in a picture needs more digits than bfloat16 has."""

    canonical: Tensor
    gap: Tensor
    cavity: Tensor
    cavity_colour: Tensor
    side: Tensor
    select: Tensor
    gaps: Tensor

    @property
    def regions(self) -> list[tuple[RegionCode, RegionPicture]]:
        """Code and picture of the whole, the mouth, the right and the left eye."""
        return [
            (code, picture)
            for code, picture in zip(self.codes, self.pictures, strict=True)
            if isinstance(code, RegionCode) and isinstance(picture, RegionPicture)
        ]

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        scheme = get_scheme(config.scheme)
        head, mouth, *eyes = self.parts = list_parts(scheme)
        brows = list(pick(scheme, ("right_brow", "left_brow")))
        reach = torch.full((scheme.count,), HEAD_REACH)
        reach[list(mouth)] = MOUTH_REACH
        reach[[*brows, *(point for eye in eyes for point in eye)]] = EYE_REACH
        self.openings = scheme.openings["mouth"]
        inner = scheme.groups["inner_lips"]
        self.lip_corners = [inner[0], inner[len(inner) // 2]]
        self.brows = brows
        teeth = 2 * len(self.openings[0])
        self.extra = teeth + len(brows)
        reach = torch.cat([reach, torch.full((teeth,), MOUTH_REACH), torch.full((len(brows),), EYE_REACH)])
        self.deformation = MovingLeastSquares(GRID, (*head, *brows), reach)
        self.register_buffer("canonical", torch.full((scheme.count, 2), 0.5))
        self.register_buffer("gap", torch.tensor(0.02))
        self.register_buffer("cavity", torch.zeros(1, 1, *WINDOWS[0]))
        self.register_buffer("cavity_colour", torch.zeros(1, 3, 1, 1))
        self._list_contour(scheme)

        anchors = ((), scheme.groups["nose_base"], scheme.eye_corners[:2], scheme.eye_corners[2:])
        self.codes = nn.ModuleList(
            RegionCode(points, components, anchor, config.code_noise)
            for points, components, anchor in zip(self.parts, COMPONENTS, anchors, strict=True)
        )
        sizes, strides, doublings = ((SIZE, SIZE), *WINDOWS), (4, 4, 2, 2), (3, 2, 2, 2)
        widths = (COMPONENTS[0], *(own + COMPONENTS[0] for own in COMPONENTS[1:]))  # a window's code, then the head's
        kinds = (0, 1, 2, 2)
        self.pictures = nn.ModuleList(
            RegionPicture(width, own, config.textures[kind], size, stride, times, config.hidden, config.channels[kind])
            for width, own, kind, size, stride, times in zip(
                widths, COMPONENTS, kinds, sizes, strides, doublings, strict=True
            )
        )
        self.move = _start_still(widths[0], config.hidden, 2 * (scheme.count + self.extra + len(self.deformation.edge)))
        for number, size in enumerate(WINDOWS):
            self.register_buffer(f"feather_{number}", make_feather(*size), persistent=False)

    def _list_contour(self, scheme: Scheme) -> None:
        """The jaw's points but the chin, and for each the corner of eye or lips on its side that it may come near."""
        jaw, lips = scheme.groups["jaw"], scheme.groups["outer_lips"]
        half = len(jaw) // 2
        right_corner, left_corner = lips[0], lips[len(lips) // 2]
        eyes = scheme.eye_corners[0], scheme.eye_corners[3]
        self.across = eyes
        outer, inner, side = [], [], []
        for points, eye, corner, sign in (
            (jaw[:half], eyes[0], right_corner, 1.0),
            (jaw[: -half - 1 : -1], eyes[1], left_corner, -1.0),
        ):
            for number, point in enumerate(points):
                outer.append(point)
                inner.append(eye if number < half // 2 else corner)
                side.append(sign)
        self.outer, self.inner = outer, inner
        self.register_buffer("side", torch.tensor(side), persistent=False)
        select = torch.zeros(len(outer), scheme.count)
        select[range(len(outer)), outer] = 1.0
        self.register_buffer("select", select, persistent=False)
        self.register_buffer("gaps", torch.ones(len(outer)))

    @torch.no_grad()
    def set_canonical(self, canonical: Tensor) -> None:
        """Take (N, 2) as the canonical shape, and measure on it what `knots`, `trust` and `opened_beyond` go by."""
        self.canonical.copy_(canonical)
        upper, lower = (canonical[list(row)] for row in self.openings)
        self.gap.copy_((lower - upper).norm(dim=1).max())
        teeth = self.knots(canonical[None])[0, len(canonical) : -len(self.brows)]
        upper, lower = teeth.chunk(2)
        right, left = canonical[self.lip_corners].unsqueeze(1)
        outline = torch.cat([right, upper, left, lower.flip(0)]) * SIZE - torch.tensor(self.config.corners[0])
        self.cavity.copy_(fill_outline(outline, *WINDOWS[0]))
        first, last = self.across
        axis = F.normalize(canonical[last] - canonical[first], dim=0)
        along = canonical @ axis
        self.gaps.copy_((along[self.inner] - along[self.outer]) * self.side / (along[last] - along[first]))

    def forward(self, landmarks: Tensor) -> Tensor:  # (B, N, 2) -> (B, 3, 256, 256)
        head, *own = (code(landmarks) for code in self.codes)
        codes = [head, *(torch.cat([code, head], dim=1) for code in own)]
        picture = self.draw(codes, self.opened_beyond(landmarks))
        places = self.deformation(self.knots(landmarks), self.trust(landmarks), self.place(codes))
        # Zeros outside and clamped places are the fast way in ONNX Runtime; the clamp is what padding would do.
        return F.grid_sample(picture, spread_places(places).clamp(1 / SIZE - 1, 1 - 1 / SIZE), align_corners=False)

    def opened_beyond(self, landmarks: Tensor) -> Tensor:
        """How far the mouth is open beyond its canonical gap, from none, 0, to half as wide again or more, 1: (B,)."""
        upper, lower = (landmarks[:, list(row)] for row in self.openings)
        gap = (lower - upper).square().sum(dim=2).add(1e-12).sqrt().amax(dim=1)
        return ((gap / self.gap - 1) / CAVITY_GROWTH).clamp(0, 1)

    def draw(self, codes: list[Tensor], opened: Tensor) -> Tensor:
        """The face in its canonical shape, (B, 3, 256, 256); `opened` (B,) is how much of a cavity its mouth shows."""
        whole: Tensor = self.pictures[0](codes[0])
        for number, (x, y) in enumerate(self.config.corners):
            height, width = WINDOWS[number]
            window = self.pictures[number + 1](codes[number + 1])
            if number == 0:
                window = window + (self.cavity_colour - window) * (self.cavity * opened[:, None, None, None])
            change = (window - whole[:, :, y : y + height, x : x + width]) * self.get_buffer(f"feather_{number}")
            whole = whole + F.pad(change, (x, SIZE - x - width, y, SIZE - y - height))
        return whole

    def knots(self, landmarks: Tensor) -> Tensor:
        """Landmarks (B, N, 2) with points at the teeth's edges behind them, then at the brows' lower edges.

        Teeth are as long however wide the mouth is: what a mouth opened further shows more of is the dark between. And
        a brow that rises is no thicker: what is drawn out is the skin below it.
        """
        upper, lower = (landmarks[:, list(row)] for row in self.openings)  # (B, n, 2)
        gap = lower - upper
        length = gap.square().sum(dim=2, keepdim=True).add(1e-12).sqrt()
        teeth = gap * TEETH_SHARE * (self.gap / length).clamp(max=1)
        first, last = self.across
        axis = landmarks[:, last : last + 1] - landmarks[:, first : first + 1]  # (B, 1, 2)
        down = torch.stack([-axis[..., 1], axis[..., 0]], dim=-1)
        edges = landmarks[:, self.brows] + BROW_THICKNESS * down
        return torch.cat([landmarks, upper + teeth, lower - teeth, edges], dim=1)

    def trust(self, landmarks: Tensor) -> Tensor:
        """How far each of `knots` is where it seems, (B, N + n): a contour that a turned head hides counts for nothing.

        The jaw's points of one half are hidden where they come near, across the face, to their eye's or lips' corner.
        """
        first, last = self.across
        axis = F.normalize(landmarks[:, last] - landmarks[:, first], dim=1)  # (B, 2)
        along = (landmarks * axis[:, None]).sum(dim=2)  # (B, N)
        gap = (along[:, self.inner] - along[:, self.outer]) * self.side  # (B, M)
        width = along[:, last] - along[:, first]
        shown = (gap / (width[:, None] * self.gaps) - HIDDEN) / (SHOWN - HIDDEN)
        trust = torch.ones_like(along)
        trust = trust + (shown.clamp(0.0, 1.0) - 1) @ self.select
        return torch.cat([trust, torch.ones_like(trust[:, : self.extra])], dim=1)

    def place(self, codes: list[Tensor]) -> Tensor:
        """The canonical points and those on the crop's edge, each moved a little, as learned: (B, K, 2).

        By the head's code alone: what a feature's own points do the picture is to do too.
        """
        points = self.deformation.add_edge(self.knots(self.canonical[None]))
        moved = self.move(codes[0]).unflatten(1, (-1, 2))
        return points + MOVE_SCALE * moved

    @torch.no_grad()
    def straighten(self, pictures: Tensor, landmarks: Tensor) -> Tensor:
        """Pictures (B, 3, 256, 256) with these landmarks, deformed to the canonical shape."""
        shape = self.canonical.expand(len(landmarks), -1, -1)
        others = self.deformation.add_edge(self.knots(landmarks))
        places = self.deformation(self.knots(shape), self.trust(shape), others)
        grid = spread_places(places)
        return F.grid_sample(pictures, grid, mode="bicubic", padding_mode="border", align_corners=False).clamp(0, 1)


def list_parts(scheme: Scheme) -> tuple[tuple[int, ...], ...]:
    """The points that tell how the head, the mouth with the lower jaw, and each eye with its pupil look, right first.

    Brows tell nothing: they look the same wherever they are.
    """
    jaw = scheme.groups["jaw"]
    end = len(jaw) // 4
    head = (*scheme.rigid, *jaw[:end], *jaw[-end:])
    mouth = (*jaw[end:-end], *pick(scheme, ("outer_lips", "inner_lips")))
    eyes = (
        pick(scheme, [name for name in (f"{side}_eye", f"{side}_pupil") if name in scheme.groups])
        for side in ("right", "left")
    )
    return head, mouth, *eyes


def spread_places(places: Tensor) -> Tensor:
    """Places (B, GRID * GRID, 2) in crop units -> a sampling grid (B, 256, 256, 2) in [-1, 1]."""
    maps = (places * 2 - 1).transpose(1, 2).view(-1, 2, GRID, GRID)
    maps = F.interpolate(maps, size=(SIZE, SIZE), mode="bilinear", align_corners=False)
    return maps.permute(0, 2, 3, 1)


def fill_outline(outline: Tensor, height: int, width: int) -> Tensor:
    """Weights (1, 1, height, width): one amid a polygon (n, 2) in pixels, however narrow it is, with a soft edge."""
    mask = Image.new("L", (width, height))
    ImageDraw.Draw(mask).polygon([(x, y) for x, y in outline.tolist()], fill=255)
    soft = np.asarray(mask.filter(ImageFilter.GaussianBlur(CAVITY_BLUR)), np.float32)
    return torch.from_numpy(soft / max(float(soft.max()), 1.0))[None, None]


def make_feather(height: int, width: int) -> Tensor:
    """Weights (1, 1, height, width): one inside, falling smoothly to zero over `FEATHER` pixels at the edge."""
    sides = []
    for length in (height, width):
        inside = torch.arange(length) + 0.5
        ramp = (torch.minimum(inside, length - inside) / FEATHER).clamp(max=1)
        sides.append(ramp * ramp * (3 - 2 * ramp))
    return torch.outer(*sides)[None, None]


def _start_still(given: int, hidden: int, made: int) -> nn.Sequential:
    widths = (given, hidden, made)
    first, last = (nn.Linear(before, after) for before, after in pairwise(widths))
    layers = nn.Sequential(first, nn.LeakyReLU(SLOPE), last)
    init_kaiming(layers)
    nn.init.zeros_(last.weight)
    return layers
