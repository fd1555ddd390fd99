"""The mark in the pixels: what it withstands, and that nothing else is taken for it."""

import os
import subprocess
import sys
import tracemalloc
from collections.abc import Callable
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tiny_service import read_picture

from service.provenance.watermark import (
    BITS,
    HIGHEST,
    MIN_SIDE,
    Watermark,
    code_target,
    embed_watermark,
    encode_bits,
    measure_bits,
    read_sums,
    read_watermark,
)
from shared.pixels import Image8

ROOT = Path(__file__).parents[3]
REFERENCES = [ROOT / "models" / name / "reference.jpg" for name in ("franck", "cap")]


def open_picture(path: Path, size: tuple[int, int] = (256, 256)) -> Image8:
    with Image.open(path) as image:
        return np.asarray(image.convert("RGB").resize(size))


@pytest.fixture(params=REFERENCES, ids=lambda path: path.parent.name)
def face(request: pytest.FixtureRequest) -> Image8:
    return open_picture(request.param)


def save(kind: str, quality: int) -> Callable[[Image8], Image8]:
    def attack(picture: Image8) -> Image8:
        buffer = BytesIO()
        Image.fromarray(picture).save(buffer, kind, quality=quality)
        return read_picture(buffer.getvalue())

    return attack


def resize(share: float) -> Callable[[Image8], Image8]:
    return lambda picture: np.asarray(
        Image.fromarray(picture).resize((round(picture.shape[1] * share), round(picture.shape[0] * share)))
    )


ATTACKS: dict[str, Callable[[Image8], Image8]] = {
    "none": lambda picture: picture,
    "JPEG 75": save("JPEG", 75),
    "WebP 90": save("WEBP", 90),
    "75 % size": resize(0.75),
    "150 % size": resize(1.5),
    "mirrored": lambda picture: picture[:, ::-1],
    "upside down": lambda picture: picture[::-1, ::-1],
    "turned": lambda picture: np.rot90(picture),
    "brighter": lambda picture: np.clip(picture * 1.1 + 5, 0, 255).astype(np.uint8),
}


@pytest.mark.parametrize("attack", ATTACKS)
def test_the_mark_is_read_after(attack: str, face: Image8) -> None:
    marked = embed_watermark(face, "generated", "franck")
    found = read_watermark(ATTACKS[attack](marked))
    assert found is not None
    assert (found.kind, found.target_code) == ("generated", code_target("franck"))


def test_the_mark_is_faint(face: Image8) -> None:
    difference = embed_watermark(face, "composite", "cap").astype(np.float64) - face
    assert 10 * np.log10(255**2 / (difference**2).mean()) >= 40
    assert not difference[..., 0].any()


@pytest.mark.parametrize("size", [(640, 480), (97, 96), (300, 1000)])
def test_pictures_of_any_shape(size: tuple[int, int]) -> None:
    picture = open_picture(REFERENCES[0], size)
    assert read_watermark(embed_watermark(picture, "composite", "cap")) == Watermark("composite", code_target("cap"), 0)


def test_a_large_picture_takes_little_more_than_its_own_memory() -> None:
    picture = open_picture(REFERENCES[0], (4000, 3000))
    tracemalloc.start()
    try:
        marked = embed_watermark(picture, "generated", "franck")
        assert tracemalloc.get_traced_memory()[1] < 3 * picture.nbytes
        tracemalloc.reset_peak()
        assert read_watermark(marked) == Watermark("generated", code_target("franck"), 0)
        assert tracemalloc.get_traced_memory()[1] < 3 * picture.nbytes
        own = picture.copy()
        tracemalloc.reset_peak()
        assert embed_watermark(own, "generated", "franck", into=own) is own
        assert tracemalloc.get_traced_memory()[1] < 4 * picture.nbytes  # picture, marked and own among it
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(own, marked)


def test_flat_pictures_are_marked_and_small_ones_left_alone() -> None:
    for level in (0, 128, 255):
        marked = embed_watermark(np.full((256, 256, 3), level, np.uint8), "generated", "franck")
        assert read_watermark(marked) == Watermark("generated", code_target("franck"), 0), level
    small = open_picture(REFERENCES[0], (MIN_SIDE, MIN_SIDE - 1))
    np.testing.assert_array_equal(embed_watermark(small, "generated", "franck"), small)


def test_what_was_never_marked_is_not_taken_for_it() -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 256, (rng.integers(2, 300), rng.integers(1, 300), 3), np.uint8) for _ in range(60)]
    pictures += [np.full((64, 64, 3), level, np.uint8) for level in (0, 7, 255)]
    pictures += [open_picture(path, (size, size)) for path in REFERENCES for size in range(100, 400, 20)]
    assert [read_watermark(picture) for picture in pictures] == [None] * len(pictures)


def test_bits_as_they_were_set(face: Image8) -> None:
    bits = encode_bits("composite", "cap")
    assert bits.shape == (BITS,)
    np.testing.assert_array_equal(measure_bits(embed_watermark(face, "composite", "cap")), bits)


def test_marks_that_exist_are_read_for_ever() -> None:
    """Neither the code nor which coefficients carry a bit may change."""
    assert np.packbits(encode_bits("generated", "franck")).tobytes().hex() == "2620b969b113"
    sums = read_sums(np.arange(HIGHEST * HIGHEST, dtype=np.float32).reshape(HIGHEST, HIGHEST))
    np.testing.assert_allclose(sums[:3], [-120.238, 147.373, -100.066], rtol=1e-4)


def test_marking_waits_for_no_other_core() -> None:
    code = (
        "import os; from service.provenance.watermark import embed_watermark; import numpy as np;"
        "embed_watermark(np.zeros((640, 480, 3), np.uint8), 'generated', 'ada');"
        "print(len(os.listdir('/proc/self/task')))"
    )
    environment = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True)
    assert done.stdout.strip() == b"1"
