"""An imperceptible mark in the pixels: which kind of synthetic picture, and of which target.

Spread spectrum with the picture known to the encoder (Malvar and Florencio, "Improved Spread Spectrum", 2003): each of
48 bits is the sign of a weighted sum of DCT coefficients, and the smallest change is added that leaves every sum by the
same margin on its bit's side, as large a margin as the PSNR allows. The DCT is of the whole picture, so that a resize
leaves it as it is, and of its blue-yellow difference (Cb), where eyes see fine patterns least; a grey copy has lost it.

A picture has K x K coefficients c[v, u] = mean over pixels of Cb(y, x) phi_v(y) phi_u(x), in grey levels; phi_k are
cosines of mean square 1.
"""

import hashlib
import zlib
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from shared.pixels import Image8

Kind = Literal["generated", "composite"]
Floats = NDArray[np.float32]

KINDS: tuple[Kind, ...] = ("generated", "composite")
TARGET_BITS = 14
BITS = 48  # 2 of the kind, 14 of the target, and their CRC-32: no picture that was never marked passes it by chance
PSNR = 41.5  # decibels of the mark; its worst case, with rounding, stays over 41
LOWEST, HIGHEST = 10, 40  # radii of the band of coefficients: below the picture is too strong, above JPEG is too coarse
MIN_SIDE = 96  # pixels; a smaller picture has too few for the band
PART = 1 << 20  # pixels of a large picture that are worked on at once
DOUBTED = 6  # the least certain bits, of which every combination is tried against the CRC

CB = np.array([-0.168736, -0.331264, 0.5], np.float32)  # of R, G, B, as in JPEG
GREEN_OF_CB, BLUE_OF_CB = -0.344136, 1.772  # what one level of Cb adds; red has no part in it


@dataclass(frozen=True)
class Watermark:
    """What a mark says. `target_code` is `code_target` of the target's id; `corrected` of its bits were read wrong."""

    kind: Kind
    target_code: int
    corrected: int


@dataclass(frozen=True)
class _Carrier:
    """Which coefficients carry each bit: rows ``(BITS, n)`` of the flat K x K, and their signed weights, likewise."""

    rows: NDArray[np.int64]
    weights: Floats


def code_target(target_id: str) -> int:
    """A target's number in marks, 14 bits of its id's hash."""
    return int.from_bytes(hashlib.sha256(target_id.encode()).digest()[:2]) >> (16 - TARGET_BITS)


def encode_bits(kind: Kind, target_id: str) -> NDArray[np.uint8]:
    """The bits ``(BITS,)`` of a mark."""
    payload = (KINDS.index(kind) << TARGET_BITS | code_target(target_id)).to_bytes(2)
    return np.unpackbits(np.frombuffer(payload + zlib.crc32(payload).to_bytes(4), np.uint8))


def embed_watermark(picture: Image8, kind: Kind, target_id: str, into: Image8 | None = None) -> Image8:
    """The picture ``(H, W, 3)`` with the mark; as it is where a side is under `MIN_SIDE`.

    `into` is where to write it, which may be the picture itself.
    """
    height, width = picture.shape[:2]
    if min(height, width) < MIN_SIDE:
        return picture
    carrier = _make_carrier()
    signs = np.where(encode_bits(kind, target_id), 1.0, -1.0)
    toward = signs * read_sums(_analyse(picture))  # how far each sum lies on its bit's side already
    budget = 255.0**2 / 10 ** (PSNR / 10) * 3 / (GREEN_OF_CB**2 + BLUE_OF_CB**2) / carrier.rows.shape[1]
    gain = signs * np.maximum(0.0, _find_margin(toward, budget) - toward)
    change = np.zeros(HIGHEST * HIGHEST, np.float32)
    change[carrier.rows] = carrier.weights * gain[:, None]
    across = change.reshape(HIGHEST, HIGHEST) @ _make_basis(width).T  # (K, W)
    marked = picture.copy() if into is None else into
    for rows in _split_rows(height, width):
        pattern = _make_basis(height)[rows] @ across  # (h, W), in levels of Cb
        for channel, share in ((1, GREEN_OF_CB), (2, BLUE_OF_CB)):
            level = pattern * np.float32(share)
            level += picture[rows, :, channel]
            np.rint(level, out=level)
            marked[rows, :, channel] = np.clip(level, 0, 255, out=level)
    return marked


def read_watermark(picture: Image8) -> Watermark | None:
    """The mark of a picture ``(H, W, 3)`` of any size, mirrored and turned by right angles too; None where none is."""
    if min(picture.shape[:2]) < 2:
        return None
    coefficients = _analyse(picture)
    mirror = np.where(np.arange(HIGHEST) % 2, -1, 1).astype(np.float32)  # phi_k mirrored is phi_k times this
    for turned in (coefficients, coefficients.T):
        for rows in (turned, turned * mirror[:, None]):
            for each in (rows, rows * mirror):
                found = _decode(read_sums(each))
                if found is not None:
                    return found
    return None


def read_sums(coefficients: Floats) -> Floats:
    """The sum of each bit ``(BITS,)`` from coefficients ``(K, K)``; a bit is 1 where its sum is positive."""
    carrier = _make_carrier()
    sums: Floats = (coefficients.ravel()[carrier.rows] * carrier.weights).mean(axis=1)
    return sums


def measure_bits(picture: Image8) -> NDArray[np.uint8]:
    """The bits ``(BITS,)`` as they are read, uncorrected: for measuring what an attack leaves of a mark."""
    return (read_sums(_analyse(picture)) > 0).astype(np.uint8)


def _decode(sums: Floats) -> Watermark | None:
    read = (sums > 0).astype(np.uint8)
    doubted = np.argsort(np.abs(sums))[:DOUBTED]
    for flips in _list_flips():
        bits = read.copy()
        bits[doubted] ^= flips
        data = np.packbits(bits).tobytes()
        if zlib.crc32(data[:2]) == int.from_bytes(data[2:]):
            number = int.from_bytes(data[:2])
            kind = number >> TARGET_BITS
            if kind >= len(KINDS):
                return None
            return Watermark(KINDS[kind], number & (1 << TARGET_BITS) - 1, int(flips.sum()))
    return None


def _find_margin(toward: NDArray[np.floating], budget: float) -> float:
    """The margin m at which the sum of max(0, m - toward)^2 is the budget: water filling."""
    ordered = np.sort(toward.astype(np.float64))
    for count in range(len(ordered), 0, -1):  # with the `count` lowest under it
        low = ordered[:count]
        root = low.sum() ** 2 - count * ((low**2).sum() - budget)
        if root >= 0:
            margin = float((low.sum() + np.sqrt(root)) / count)
            if margin >= low[-1]:
                return margin
    return float(ordered[0] + np.sqrt(budget))


def _analyse(picture: Image8) -> Floats:
    height, width = picture.shape[:2]
    coefficients = np.zeros((HIGHEST, HIGHEST), np.float32)
    for rows in _split_rows(height, width):
        cb = picture[rows].astype(np.float32) @ CB
        coefficients += _make_basis(height)[rows].T @ cb @ _make_basis(width)
    return coefficients / np.float32(height * width)


def _split_rows(height: int, width: int) -> list[slice]:
    """A picture's rows in parts of about PART pixels: as floats, a large one takes five times its memory."""
    step = max(1, PART // width)
    return [slice(top, top + step) for top in range(0, height, step)]


@lru_cache(maxsize=16)
def _make_basis(size: int) -> Floats:
    """phi_k at the pixel centres of a side: ``(size, K)``."""
    angle = np.pi * (2 * np.arange(size)[:, None] + 1) * np.arange(HIGHEST)[None] / (2 * size)
    basis = np.cos(angle) * np.sqrt(2)
    basis[:, 0] = 1
    rounded: Floats = basis.astype(np.float32)
    return rounded


@lru_cache(maxsize=1)
def _list_flips() -> NDArray[np.uint8]:
    """Every combination of `DOUBTED` bits, those with the fewest flips first."""
    flips = np.unpackbits(np.arange(1 << DOUBTED, dtype=np.uint8)[:, None], axis=1)[:, -DOUBTED:]
    ordered: NDArray[np.uint8] = flips[np.argsort(flips.sum(axis=1), kind="stable")]
    return ordered


@lru_cache(maxsize=1)
def _make_carrier() -> _Carrier:
    """The band shared out among the bits by a hash: whoever reads a mark in years must share it out alike."""
    v, u = np.meshgrid(np.arange(HIGHEST), np.arange(HIGHEST), indexing="ij")
    radius = np.hypot(v, u).ravel()
    band = np.flatnonzero((radius >= LOWEST) & (radius < HIGHEST) & (np.minimum(v, u).ravel() > 1))
    keys = np.frombuffer(hashlib.shake_256(b"landmarkgan watermark 1").digest(8 * len(band)), "<u8")
    count = len(band) // BITS
    rows = band[np.argsort(keys, kind="stable")][: BITS * count].reshape(BITS, count)
    signs = np.where(keys[: BITS * count] & 1, 1.0, -1.0).reshape(BITS, count)
    weights = radius[rows]  # pictures fade towards fine patterns: what disturbs the sums least weighs most
    weights /= np.sqrt((weights**2).mean(axis=1, keepdims=True))
    return _Carrier(rows, (signs * weights).astype(np.float32))
