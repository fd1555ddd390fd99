"""Theta in two layers, which the landmarks move: the skin, its lips and lids shut, and what shows between them.

    landmarks -> codes of head, mouth and eyes -> the skin in its canonical shape      what it looks like
    landmarks -> moving least squares          -> where each pixel is taken from       where it is
    codes     -> teeth and eyeballs; landmarks -> the openings that they show through

In the canonical shape every feature has its place. So the mouth and each eye are drawn in windows of their own, from
their own points and the head's pose: a mouth that opens can't touch an eye or a collar. Deep appearance models
(Lombardi et al. 2018) part looks from shape like this; here the textures are frames of the target, learned on. And
what a mouth that opens shows is no skin drawn out: it lies behind, and the landmarks say where the skin ends.
"""

from itertools import pairwise
from typing import ClassVar, Literal

import torch
import torch.nn.functional as F
from pydantic import BaseModel, ConfigDict, Field
from torch import Tensor, nn

from shared.landmarks import Scheme, get_scheme, pick
from trainer.networks.apertures import OPENINGS, SIZE, TILES, Apertures, lay_out, measure_cover
from trainer.networks.initialisation import SLOPE, init_kaiming
from trainer.networks.moving_least_squares import MovingLeastSquares, invert_2x2
from trainer.networks.regions import RegionCode, RegionPicture

GRID = 32
"""Side of the raster on which the deformation is known; bilinear in between."""

OPENING_GRID, ROWS, COLUMNS = 64, (12, 58), (10, 54)
"""Side of the raster on which the openings are known, and the rows and columns of it that can hold one."""

WINDOWS = ((112, 128), (56, 72), (56, 72))
"""Height and width in pixels of the windows of mouth, right eye and left eye."""

FEATHER = 12
"""Pixels over which a window fades into what lies about it."""

COMPONENTS = (10, 16, 12, 12)
"""Of the codes of head, mouth, right eye and left eye."""

MOUTH_REACH, EYE_REACH, HEAD_REACH = 0.35, 0.25, 1.0
"""How far a point's own motion carries, in crop units."""

BROW_THICKNESS = 0.09
"""From a brow's middle to its lower edge, in distances of the eyes' outer corners."""

BROW_GAIN = 0.5
"""Where learning begins: detectors see a brow move by less than it does, so it moves by so much more than they say."""

HIDDEN, SHOWN = 0.15, 0.6
"""Shares of the canonical gap between which a contour point is trusted the more."""

MOVE_SCALE = 0.05
"""Crop units: of what the canonical points are learned to move by."""

WIDEST_MARGIN = 1.5
"""Pixels by which an opening's edge is learned to lie off its landmarks, at most."""


class GeneratorConfig(BaseModel):
    """Widths of Theta, and where its windows lie, which `sampling.textures` finds for each target."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    kind: Literal["moving_textures"] = "moving_textures"
    scheme: str = "ibug70"
    textures: tuple[int, int, int] = Field(default=(3, 4, 3), description="Of the whole, the mouth and each eye.")
    behind: tuple[int, int] = Field(default=(5, 3), description="Textures of what a mouth shows, and either eye.")
    hidden: int = Field(default=128, ge=1, description="Width of each region's first FC layer.")
    channels: tuple[int, int, int, int] = Field(
        default=(32, 48, 32, 16), description="Of the maps of whole, mouth, eyes and what lies behind."
    )
    code_noise: float = Field(default=0.25, ge=0, description="Spread of what is added to codes in training.")
    corners: tuple[tuple[int, int], ...] = Field(
        default=((48, 120), (48, 56), (128, 56)), description="Upper left (x, y) of each window, in pixels."
    )


class Generator(nn.Module):
    """Theta_t: landmarks in crop units -> the target's face, RGB, about in [0, 1]."""

    MIXED_PRECISION: ClassVar = False
    """A place in a picture needs more digits than bfloat16 has."""

    canonical: Tensor
    cells: Tensor
    side: Tensor
    select: Tensor
    gaps: Tensor

    @property
    def regions(self) -> list[tuple[RegionCode, RegionPicture]]:
        """Code and picture of the skin: the whole, the mouth, the right and the left eye."""
        return self._pair(range(4), self.skin)

    @property
    def behind(self) -> list[tuple[RegionCode, RegionPicture]]:
        """Code and picture of what shows between the lips and between the lids of the right and the left eye."""
        return self._pair(range(1, 4), self.interiors)

    def __init__(self, config: GeneratorConfig) -> None:
        super().__init__()
        self.config = config
        scheme = get_scheme(config.scheme)
        self.parts = list_parts(scheme)
        self.across = scheme.eye_corners[0], scheme.eye_corners[3]
        self._list_knots(scheme)
        self.apertures = Apertures(scheme)
        axis = (torch.arange(OPENING_GRID) + 0.5) / OPENING_GRID
        cells = torch.stack(torch.meshgrid(axis[slice(*COLUMNS)], axis[slice(*ROWS)], indexing="xy"), dim=-1)
        self.register_buffer("cells", cells.reshape(-1, 2), persistent=False)
        self.register_buffer("canonical", torch.full((scheme.count, 2), 0.5))
        self._list_contour(scheme)

        anchors = ((), scheme.groups["nose_base"], scheme.eye_corners[:2], scheme.eye_corners[2:])
        self.codes = nn.ModuleList(
            RegionCode(points, components, anchor, config.code_noise)
            for points, components, anchor in zip(self.parts, COMPONENTS, anchors, strict=True)
        )
        head, *owns = COMPONENTS
        widths = [own + head for own in owns]  # a region's own code, then the head's
        whole, mouth, eye = config.textures
        teeth, eyeball = config.behind
        of_whole, of_mouth, of_eye, of_interior = config.channels
        hidden = config.hidden
        self.skin = nn.ModuleList([RegionPicture(head, head, whole, (SIZE, SIZE), 4, 3, hidden, of_whole)])
        for width, own, size, count, channels, stride in zip(
            widths, owns, WINDOWS, (mouth, eye, eye), (of_mouth, of_eye, of_eye), (4, 2, 2), strict=True
        ):
            self.skin.append(RegionPicture(width, own, count, size, stride, 2, hidden, channels))
        self.interiors = nn.ModuleList(
            RegionPicture(width, own, count, size, 4, 1, hidden, of_interior)
            for width, own, count, size in zip(widths, owns, (teeth, eyeball, eyeball), TILES, strict=True)
        )
        self.margins = nn.ModuleList(_start_still(width, hidden // 4, 2) for width in widths)
        self.move = _start_still(head, hidden, 2 * (len(self.reach) + len(self.deformation.edge)))
        for number, size in enumerate(WINDOWS):
            self.register_buffer(f"feather_{number}", make_feather(*size), persistent=False)

    def _list_knots(self, scheme: Scheme) -> None:
        """The points that the deformation goes by, in the order of `knots`."""
        self.brows = list(pick(scheme, ("right_brow", "left_brow")))
        self.rigid = list(scheme.rigid)
        self.brow_gain = nn.Parameter(torch.zeros(len(self.brows), 1))  # beyond BROW_GAIN
        self.uppers = [point for name in OPENINGS for point in scheme.openings[name][0]]
        self.lowers = [point for name in OPENINGS for point in scheme.openings[name][1]]
        apart = {*self.uppers, *self.lowers, *self.brows, *(scheme.pupils or ())}
        self.others = [point for point in range(scheme.count) if point not in apart]
        order = [*self.others, *self.brows, *self.uppers, *self.lowers]
        self.knot_of = {point: number for number, point in enumerate(order)}
        head, mouth, *eyes = self.parts
        reach = torch.full((scheme.count,), HEAD_REACH)
        reach[list(mouth)] = MOUTH_REACH
        reach[[*self.brows, *(point for eye in eyes for point in eye)]] = EYE_REACH
        self.reach = torch.cat([reach[order], torch.full((len(self.brows),), EYE_REACH)])
        rigid = tuple(self.knot_of[point] for point in (*head, *self.brows))
        self.deformation = MovingLeastSquares(GRID, rigid, self.reach)

    def _list_contour(self, scheme: Scheme) -> None:
        """The jaw's points but the chin, and for each the corner of eye or lips on its side that it may come near."""
        jaw, lips = scheme.groups["jaw"], scheme.groups["outer_lips"]
        half = len(jaw) // 2
        right_corner, left_corner = lips[0], lips[len(lips) // 2]
        outer, inner, side = [], [], []
        for points, eye, corner, sign in (
            (jaw[:half], self.across[0], right_corner, 1.0),
            (jaw[: -half - 1 : -1], self.across[1], left_corner, -1.0),
        ):
            for number, point in enumerate(points):
                outer.append(point)
                inner.append(eye if number < half // 2 else corner)
                side.append(sign)
        self.outer, self.inner = outer, inner
        self.register_buffer("side", torch.tensor(side), persistent=False)
        select = torch.zeros(len(outer), len(self.reach))
        select[range(len(outer)), [self.knot_of[point] for point in outer]] = 1.0
        self.register_buffer("select", select, persistent=False)
        self.register_buffer("gaps", torch.ones(len(outer)))

    def _pair(self, codes: range, pictures: nn.ModuleList) -> list[tuple[RegionCode, RegionPicture]]:
        return [
            (code, picture)
            for code, picture in zip((self.codes[number] for number in codes), pictures, strict=True)
            if isinstance(code, RegionCode) and isinstance(picture, RegionPicture)
        ]

    @torch.no_grad()
    def set_canonical(self, canonical: Tensor) -> None:
        """Take (N, 2) as the canonical shape, and measure on it what `trust` goes by."""
        self.canonical.copy_(canonical)
        first, last = self.across
        axis = F.normalize(canonical[last] - canonical[first], dim=0)
        along = canonical @ axis
        self.gaps.copy_((along[self.inner] - along[self.outer]) * self.side / (along[last] - along[first]))

    def forward(self, landmarks: Tensor) -> Tensor:  # (B, N, 2) -> (B, 3, 256, 256)
        codes = self.read_codes(landmarks)
        places = self.deformation(self.knots(landmarks), self.trust(landmarks), self.place(codes))
        # Zeros outside and clamped places are the fast way in ONNX Runtime; the clamp is what padding would do.
        grid = spread_places(places.clamp(0.5 / SIZE, 1 - 0.5 / SIZE))
        skin = F.grid_sample(self.draw(codes), grid, align_corners=False)
        return self.open(skin, landmarks, codes)

    def read_codes(self, landmarks: Tensor) -> list[Tensor]:
        """The head's code (B, 10), then those of mouth and eyes, each with the head's behind it."""
        head, *own = (code(landmarks) for code in self.codes)
        return [head, *(torch.cat([code, head], dim=1) for code in own)]

    def draw(self, codes: list[Tensor]) -> Tensor:
        """The skin in its canonical shape, (B, 3, 256, 256)."""
        whole: Tensor = self.skin[0](codes[0])
        for number, (x, y) in enumerate(self.config.corners):
            height, width = WINDOWS[number]
            window = self.skin[number + 1](codes[number + 1])
            change = (window - whole[:, :, y : y + height, x : x + width]) * self.get_buffer(f"feather_{number}")
            whole = whole + F.pad(change, (x, SIZE - x - width, y, SIZE - y - height))
        return whole

    def open(self, skin: Tensor, landmarks: Tensor, codes: list[Tensor]) -> Tensor:
        """The deformed skin (B, 3, 256, 256) with teeth and eyeballs where its lips and lids are apart."""
        atlas = lay_out(*(picture(code) for picture, code in zip(self.interiors, codes[1:], strict=True)))
        learned = [margin(code) for margin, code in zip(self.margins, codes[1:], strict=True)]  # (B, 2) each
        margins = WIDEST_MARGIN * torch.stack(learned, dim=2).flatten(1).tanh()  # (B, 6), the upper edges' first
        field = self.apertures(landmarks, self.cells, margins)  # (B, 4, P)
        (top, bottom), (left, right) = ((step * SIZE // OPENING_GRID for step in span) for span in (ROWS, COLUMNS))
        field = field.unflatten(2, (ROWS[1] - ROWS[0], COLUMNS[1] - COLUMNS[0]))
        field = F.interpolate(field, size=(bottom - top, right - left), mode="bilinear", align_corners=False)
        behind = F.grid_sample(atlas, field[:, :2].permute(0, 2, 3, 1), align_corners=False)
        change = (behind - skin[:, :, top:bottom, left:right]) * measure_cover(field[:, 2:])
        return skin + F.pad(change, (left, SIZE - right, top, SIZE - bottom))

    def knots(self, landmarks: Tensor) -> Tensor:
        """The points of landmarks (B, N, 2) that the skin goes by: all but the pupils, the openings' edges last but for
        points at the brows' lower edges.

        Edges that cross meet halfway. Brows move by a learned share more than their landmarks do; and a brow that rises
        is no thicker: what is drawn out is the skin below it.
        """
        first, last = self.across
        axis = landmarks[:, last : last + 1] - landmarks[:, first : first + 1]  # (B, 1, 2)
        down = torch.stack([-axis[..., 1], axis[..., 0]], dim=-1)
        upper, lower = landmarks[:, self.uppers], landmarks[:, self.lowers]  # (B, n, 2)
        gap = ((lower - upper) * down).sum(dim=2, keepdim=True) / down.square().sum(dim=2, keepdim=True).add(1e-10)
        crossed = gap.clamp(max=0) / 2 * down
        brows = landmarks[:, self.brows]
        brows = brows + (BROW_GAIN + self.brow_gain) * (brows - self.expect_brows(landmarks))
        edges = brows + BROW_THICKNESS * down
        return torch.cat([landmarks[:, self.others], brows, upper + crossed, lower - crossed, edges], dim=1)

    def expect_brows(self, landmarks: Tensor) -> Tensor:
        """Where the canonical brows lie on faces (B, N, 2) whose heads are turned as theirs: (B, n, 2)."""
        rigid, canonical = landmarks[:, self.rigid], self.canonical[self.rigid]  # (B, R, 2), (R, 2)
        middle, centre = rigid.mean(dim=1, keepdim=True), canonical.mean(dim=0)
        away = canonical - centre
        head = invert_2x2((away.T @ away)[None]) @ (away.T @ (rigid - middle))  # (B, 2, 2)
        return middle + (self.canonical[self.brows] - centre) @ head

    def trust(self, landmarks: Tensor) -> Tensor:
        """How far each of `knots` is where it seems, (B, K): a contour that a turned head hides counts for nothing.

        The jaw's points of one half are hidden where they come near, across the face, to their eye's or lips' corner.
        """
        first, last = self.across
        axis = F.normalize(landmarks[:, last] - landmarks[:, first], dim=1)  # (B, 2)
        along = (landmarks * axis[:, None]).sum(dim=2)  # (B, N)
        gap = (along[:, self.inner] - along[:, self.outer]) * self.side  # (B, M)
        width = along[:, last] - along[:, first]
        shown = (gap / (width[:, None] * self.gaps) - HIDDEN) / (SHOWN - HIDDEN)
        return 1 + (shown.clamp(0.0, 1.0) - 1) @ self.select

    def place(self, codes: list[Tensor]) -> Tensor:
        """The canonical knots and those on the crop's edge, each moved a little, as learned: (B, K + 16, 2).

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
