"""The openings between lips and between lids: where each pixel lies in one, and what of the picture behind it shows.

Behind the skin lie three pictures, of teeth and tongue and of either eyeball, in one atlas. An opening is bounded by
two curves through the landmarks of its edges, so how far it is open is geometry and nothing that a network has to
learn. Teeth keep their size and hang from the upper lip; an iris goes where its pupil goes.

Each opening has a frame of its own: `along`, from its first corner, 0, to its last, 1, and `down`, at a right angle to
that, in crop units.
"""

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from shared.landmarks import Scheme

SIZE = 256
"""Side of the crop in pixels."""

OPENINGS = ("mouth", "right_eye", "left_eye")
TILES = ((56, 96), (48, 64), (48, 64))
"""Height and width in pixels of the picture behind each opening."""

MOUTH_SPAN, MOUTH_TOP = 0.96, 0.12
"""Width of the picture behind the mouth, and how far it reaches above the upper lip, in distances of the eyes' outer
corners."""

EYE_SPAN = 1.4
"""Width of the picture behind an eye, in widths of the eye."""

PUPIL_REACH = 0.45
"""Eye widths about the pupil that go along with it."""

EDGE, FAR = 1.0, 8.0
"""Pixels over which an opening's edge is blended, and from an edge on which the distance counts no more."""

EDGE_POINTS = 3
"""Points through which an edge runs, besides the corners."""

LEAST_STEP = 0.08
"""Of the opening's width: how far an edge's points lie apart at least, along it."""

INVERSIONS = 10
"""Rounds in which a pupil's shift is solved for."""

ATLAS = (TILES[0][0] + TILES[1][0], 2 * TILES[1][1])
"""Height and width: the mouth above, the eyes side by side below."""

ORIGINS = ((0, 0), (TILES[0][0], 0), (TILES[0][0], TILES[1][1]))
"""Upper row and left column of each tile in the atlas."""


@dataclass(frozen=True)
class _Frames:
    """The three openings of B faces."""

    first: Tensor  # (B, 3, 2) the first corner
    across: Tensor  # (B, 3, 2) unit vectors
    width: Tensor  # (B, 3, 1) crop units
    unit: Tensor  # (B, 3, 1) crop units that the picture behind is measured in
    top: Tensor  # (B, 3, 1) `down` of where the picture behind hangs
    places: Tensor  # (B, 3, 2, 3) `along` of the points of upper and lower edge
    depths: Tensor  # (B, 3, 2, 3) Newton's divided differences of `down` over along * (1 - along)
    pupil: Tensor  # (B, 3, 2) from the middle of the corners, in widths of the eye
    shift: Tensor  # (B, 3, 2) from the pupil's rest to it

    @property
    def down(self) -> Tensor:
        """Unit vectors (B, 3, 2), a quarter turn clockwise from `across`."""
        return torch.stack([-self.across[..., 1], self.across[..., 0]], dim=-1)


class Apertures(nn.Module):
    """Openings of a scheme's faces. `rest` (3, 2) is where the pupils are in the atlas, in widths of their eyes."""

    rest: Tensor
    select: Tensor
    span: Tensor
    stretch: Tensor
    floor: Tensor
    corner: Tensor
    extent: Tensor

    def __init__(self, scheme: Scheme) -> None:
        super().__init__()
        inner = scheme.groups["inner_lips"]
        corners = ((inner[0], inner[len(inner) // 2]), scheme.eye_corners[:2], scheme.eye_corners[2:])
        rows = [[corner[end]] for end in (0, 1) for corner in corners]
        rows += [row for name in OPENINGS for edge in scheme.openings[name] for row in _thicken(edge)]
        rows += [[scheme.eye_corners[0]], [scheme.eye_corners[3]]]
        rows += [[pupil] for pupil in scheme.pupils or ()]
        self.has_pupils = scheme.pupils is not None
        select = torch.zeros(len(rows), scheme.count)
        for number, row in enumerate(rows):
            select[number, row] = 1 / len(row)
        self.register_buffer("select", select, persistent=False)
        self.register_buffer("rest", torch.zeros(3, 2))
        heights, widths = torch.tensor(TILES, dtype=torch.float32).T
        span = torch.tensor([MOUTH_SPAN, EYE_SPAN, EYE_SPAN])
        stretch = widths / heights / span
        buffers = {
            "span": span,
            "stretch": stretch,
            "floor": torch.tensor([MOUTH_TOP * float(stretch[0]), 0.5, 0.5]),
        }
        for name, value in buffers.items():
            self.register_buffer(name, value[:, None], persistent=False)  # (3, 1)
        size = torch.tensor(ATLAS[::-1], dtype=torch.float32)
        self.register_buffer("corner", torch.tensor([origin[::-1] for origin in ORIGINS]) / size, persistent=False)
        self.register_buffer("extent", torch.stack([widths, heights], dim=1) / size, persistent=False)

    @torch.no_grad()
    def set_rest(self, landmarks: Tensor) -> None:
        """Let the pupils' mean place in landmarks (n, N, 2) be where they are in the atlas."""
        self.rest.copy_(self._measure(landmarks).pupil.mean(dim=0))

    def forward(self, landmarks: Tensor, cells: Tensor, margins: Tensor) -> Tensor:
        """What lies behind each of `cells` (P, 2) in crop units, at the opening that it is nearest to: (B, 4, P).

        The place in the atlas, x and y in [-1, 1], then the distance to the upper and to the lower edge in pixels,
        positive inside and `FAR` at most. `margins` (B, 6) in pixels widen the openings at their upper edges, then at
        their lower ones.
        """
        frames = self._measure(landmarks)
        along = (cells @ frames.across.transpose(1, 2)).transpose(1, 2)  # (B, 3, P)
        along = (along - (frames.first * frames.across).sum(dim=2, keepdim=True)) / frames.width
        down = (cells @ frames.down.transpose(1, 2)).transpose(1, 2)
        down = down - (frames.first * frames.down).sum(dim=2, keepdim=True)
        x, y = self._find_behind(frames, along, down)
        x, y = (self._to_atlas(value, axis) for axis, value in enumerate((x, y)))
        above, below = _measure_inside(frames, along, down)
        upper, lower = margins.unsqueeze(2).chunk(2, dim=1)  # (B, 3, 1)
        above, below = (above + upper).clamp(-FAR, FAR), (below + lower).clamp(-FAR, FAR)
        sides, values = (along - 0.5) * frames.width, torch.stack([x, y, above, below], dim=1)  # (B, 4, 3, P)
        distance = sides * sides + down * down  # (B, 3, P)
        mouth, right, left = distance.chunk(3, dim=1)
        eye = torch.where(right < left, values[:, :, 1], values[:, :, 2])
        return torch.where(mouth < torch.minimum(right, left), values[:, :, 0], eye)

    def locate(self, landmarks: Tensor, number: int) -> tuple[Tensor, Tensor]:
        """Where the pixels of one opening's tile lie on faces (B, N, 2): crop units (B, h, w, 2), the inverse of
        `forward`; and how far inside the opening, in pixels (B, h, w)."""
        height, width = TILES[number]
        frames = self._measure(landmarks)
        rows, columns = ((torch.arange(length) + 0.5) / length for length in (height, width))
        one = slice(number, number + 1)
        unit = frames.unit[:, one]
        y, x = (each.reshape(1, 1, -1) for each in torch.meshgrid(rows, columns, indexing="ij"))
        across = (x - 0.5) * unit * self.span[one] / frames.width[:, one]  # (B, 1, P), in widths of the opening
        below = (y - self.floor[one]) / self.stretch[one]  # in units
        shift_x, shift_y = torch.zeros_like(across), torch.zeros_like(below)
        for _ in range(INVERSIONS):
            share = _follow_pupil(frames, across + shift_x, below + shift_y, one)
            shift_x, shift_y = share * frames.shift[:, one, :1], share * frames.shift[:, one, 1:]
        along = across + shift_x + 0.5
        down = (below + shift_y) * unit + frames.top[:, one]
        inside = torch.minimum(*(each[:, one] for each in _measure_inside(frames, along, down)))
        places = (
            frames.first[:, one]
            + (along * frames.width[:, one]).transpose(1, 2) * frames.across[:, one]
            + down.transpose(1, 2) * frames.down[:, one]
        )
        return places.reshape(-1, height, width, 2), inside.reshape(-1, height, width)

    def _measure(self, landmarks: Tensor) -> _Frames:
        points = self.select @ landmarks  # (B, K, 2)
        first, last = points[:, :3], points[:, 3:6]
        edges = points[:, 6 : 6 + 6 * EDGE_POINTS].reshape(-1, 3, 2 * EDGE_POINTS, 2)  # (B, 3, 6, 2)
        outer_right, outer_left, *_ = points[:, 6 + 6 * EDGE_POINTS :].unbind(dim=1)
        across = last - first
        width = _measure_length(across)  # (B, 3, 1)
        across = across / width
        down = torch.stack([-across[..., 1], across[..., 0]], dim=-1)
        away = edges - first.unsqueeze(2)
        along = (away * across.unsqueeze(2)).sum(dim=3) / width  # (B, 3, 6)
        depth = (away * down.unsqueeze(2)).sum(dim=3)
        shape = (-1, 3, 2, EDGE_POINTS)
        places = _keep_apart(along.reshape(shape))  # (B, 3, 2, 3)
        depths = _divide_differences(places, depth.reshape(shape) / (places * (1 - places)))
        eyes = _measure_length(outer_left - outer_right).unsqueeze(1)  # (B, 1, 1)
        middle = depth[:, :1, EDGE_POINTS // 2 : EDGE_POINTS // 2 + 1]  # (B, 1, 1) of the upper lip
        unit = torch.cat([eyes, width[:, 1:]], dim=1)
        top = torch.cat([middle, torch.zeros_like(width[:, 1:])], dim=1)
        pupil = shift = torch.zeros_like(first)
        if self.has_pupils:
            away = points[:, -2:] - first[:, 1:]
            placed = torch.cat(
                [
                    (away * across[:, 1:]).sum(dim=2, keepdim=True) / width[:, 1:] - 0.5,
                    (away * down[:, 1:]).sum(dim=2, keepdim=True) / width[:, 1:],
                ],
                dim=2,
            )
            pupil = torch.cat([torch.zeros_like(placed[:, :1]), placed], dim=1)
            shift = pupil - self.rest
        return _Frames(first, across, width, unit, top, places, depths, pupil, shift)

    def _find_behind(self, frames: _Frames, along: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
        """Places (B, 3, P) in each opening's picture, 0 to 1 across it and down."""
        across, below = along - 0.5, (down - frames.top) / frames.unit
        if self.has_pupils:
            share = _follow_pupil(frames, across, below, slice(0, 3))
            across, below = across - share * frames.shift[..., :1], below - share * frames.shift[..., 1:]
        return across * (frames.width / frames.unit / self.span) + 0.5, below * self.stretch + self.floor

    def _to_atlas(self, places: Tensor, axis: int) -> Tensor:
        """Places (B, 3, P) across the pictures, or down, in the atlas in [-1, 1]: half a pixel inside their own."""
        corner, extent = self.corner[:, axis, None], self.extent[:, axis, None]  # (3, 1)
        half = 0.5 / ATLAS[1 - axis]
        placed = corner + places * extent
        return torch.minimum(torch.maximum(placed, corner + half), corner + extent - half) * 2 - 1


def measure_cover(inside: Tensor) -> Tensor:
    """How much of each pixel an opening covers, (B, 1, …) in [0, 1], by its distances (B, 2, …) to the two edges.

    An opening narrower than a pixel covers that share of it: from nothing on it opens without a jump.
    """
    above, below = inside.clamp(max=EDGE).chunk(2, dim=1)  # added, and not summed: ONNX Runtime sums an axis slowly
    return ((above + below) / (2 * EDGE)).clamp(0, 1)


def lay_out(mouth: Tensor, right: Tensor, left: Tensor) -> Tensor:
    """The three pictures (B, 3, h, w) as one atlas (B, 3, *ATLAS)."""
    mouth = nn.functional.pad(mouth, (0, ATLAS[1] - TILES[0][1]))
    return torch.cat([mouth, torch.cat([right, left], dim=3)], dim=2)


def _thicken(edge: tuple[int, ...]) -> list[list[int]]:
    """The points of an edge, each as those that it is the mean of: of two, the middle is a third."""
    if len(edge) == EDGE_POINTS:
        return [[point] for point in edge]
    return [[edge[0]], [edge[0], edge[-1]], [edge[-1]]]


def _measure_length(vectors: Tensor) -> Tensor:
    """(…, 2) -> (…, 1), never nothing."""
    return vectors.square().sum(dim=-1, keepdim=True).add(1e-10).sqrt()


def _keep_apart(places: Tensor) -> Tensor:
    """Places (…, 3) along an edge, in order and `LEAST_STEP` from each other and from the corners."""
    first = places[..., 0].clamp(LEAST_STEP, 1 - 3 * LEAST_STEP)
    second = torch.maximum(places[..., 1], first + LEAST_STEP).clamp(max=1 - 2 * LEAST_STEP)
    third = torch.maximum(places[..., 2], second + LEAST_STEP).clamp(max=1 - LEAST_STEP)
    return torch.stack([first, second, third], dim=-1)


def _divide_differences(places: Tensor, values: Tensor) -> Tensor:
    """Newton's coefficients (…, 3) of the parabola through three values (…, 3)."""
    first, second, third = places.unbind(dim=-1)
    low, middle, high = values.unbind(dim=-1)
    slope = (middle - low) / (second - first)
    bend = ((high - middle) / (third - second) - slope) / (third - first)
    return torch.stack([low, slope, bend], dim=-1)


def _measure_inside(frames: _Frames, along: Tensor, down: Tensor) -> tuple[Tensor, Tensor]:
    """How far places (B, 3, P) lie below the upper edge and above the lower one, in pixels."""
    held = along.clamp(0, 1)
    beyond = (along - held).abs() * frames.width
    arch = held * (1 - held)  # each edge ends in the corners

    def follow(edge: int) -> Tensor:
        places, depths = frames.places[:, :, edge], frames.depths[:, :, edge]  # (B, 3, 3)
        bend = depths[..., 1:2] + (held - places[..., 1:2]) * depths[..., 2:]
        return arch * (depths[..., :1] + (held - places[..., :1]) * bend)

    return (down - follow(0) - beyond) * SIZE, (follow(1) - down - beyond) * SIZE


def _follow_pupil(frames: _Frames, across: Tensor, below: Tensor, one: slice) -> Tensor:
    """How far places (B, n, P) of these openings, in widths of the eye, go along with the pupil: 1 by it, 0 far off."""
    x, y = across - frames.pupil[:, one, :1], below - frames.pupil[:, one, 1:]
    far = (x * x + y * y) / PUPIL_REACH**2
    return torch.exp(-far * far)
