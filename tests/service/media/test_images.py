"""Pictures in and out."""

import struct
import tracemalloc
import zlib
from collections.abc import Callable
from io import BytesIO
from typing import IO

import numpy as np
import pytest
from PIL import Image
from tiny_service import read_picture, to_bytes

from service.errors import ImageTooLargeError, OptionError, UnsupportedImageError
from service.media.images import (
    MAX_SCANS,
    ORIENTATION_TAG,
    count_pixels,
    count_scans,
    decode_picture,
    encode_picture,
    resize_picture,
)
from shared.errors import ImageError
from tests.fixtures.bombs import make_scan_bomb

MOST = 10_000


def make_gradient(width: int = 20, height: int = 10) -> Image.Image:
    """No two rows or columns alike."""
    red, green = np.meshgrid(np.arange(width) * 10, np.arange(height) * 20)
    return Image.fromarray(np.stack([red, green, red * 0], axis=2).astype(np.uint8))


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
def test_picture_formats_are_read(kind: str) -> None:
    picture = decode_picture(to_bytes(make_gradient(), kind), MOST)
    assert picture.shape == (10, 20, 3)
    assert picture.dtype == np.uint8


def test_a_jpeg_comes_no_larger_than_needed_and_no_smaller() -> None:
    turned = Image.Exif()
    turned[ORIENTATION_TAG] = 6
    picture = Image.radial_gradient("L").resize((400, 300)).convert("RGB")
    jpeg = to_bytes(picture, "JPEG", turned)
    assert decode_picture(jpeg, 400 * 300).shape == (400, 300, 3)
    for shortest, expected in ((300, (400, 300)), (151, (400, 300)), (150, (200, 150)), (75, (100, 75)), (1, (50, 38))):
        assert decode_picture(jpeg, 400 * 300, shortest).shape == (*expected, 3)
    half = np.asarray(picture.reduce(2)).astype(int)
    assert np.abs(decode_picture(to_bytes(picture, "JPEG"), 400 * 300, 150).astype(int) - half).mean() < 2
    assert decode_picture(to_bytes(picture), 400 * 300, 150).shape == (300, 400, 3)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(orientation: int) -> None:
    """Each picture is stored turned such that its EXIF tag makes it upright again."""
    upright = np.asarray(make_gradient())
    undo: dict[int, Callable[[np.ndarray], np.ndarray]] = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1),
        6: lambda a: np.rot90(a, 1),  # shown after a quarter turn to the right
        7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }
    stored = Image.fromarray(np.ascontiguousarray(undo[orientation](upright)))
    exif = Image.Exif()
    exif[ORIENTATION_TAG] = orientation
    np.testing.assert_array_equal(decode_picture(to_bytes(stored, "PNG", exif), MOST), upright)


def test_modes_become_rgb() -> None:
    for mode in ("L", "P", "1", "LA", "RGBA"):
        assert decode_picture(to_bytes(make_gradient().convert(mode)), MOST).shape == (10, 20, 3)
    assert decode_picture(to_bytes(make_gradient().convert("CMYK"), "JPEG"), MOST).shape == (10, 20, 3)


def test_transparency_lies_on_white() -> None:
    clear = Image.new("RGBA", (4, 4), (255, 0, 0, 0))
    assert (decode_picture(to_bytes(clear), MOST) == 255).all()


def test_sixteen_bit_grey_keeps_its_shades() -> None:
    grey = Image.fromarray(np.array([[0, 0x8000, 0xFFFF]], np.uint16))
    np.testing.assert_array_equal(decode_picture(to_bytes(grey), MOST)[0, :, 0], [0, 0x80, 0xFF])


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "JPEG"])
@pytest.mark.parametrize("kept", [0.02, 0.3, 0.6, 0.9])
def test_truncated_pictures_are_damaged(kind: str, kept: float) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8))
    data = to_bytes(noise, kind)
    with pytest.raises(ImageError) as caught:
        decode_picture(data[: max(12, int(len(data) * kept))], MOST)
    assert not isinstance(caught.value, UnsupportedImageError)


@pytest.mark.parametrize("data", [b"hello", b"GIF89a" + bytes(50), b"\x00" * 100, b"BM" + bytes(60), b"%PDF-1.7"])
def test_other_files_are_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedImageError):
        decode_picture(data, MOST)


def test_empty_file_is_named() -> None:
    with pytest.raises(ImageError, match="empty"):
        decode_picture(b"", MOST)


@pytest.mark.parametrize("side", [101, 15_000, 30_000])
def test_pixels_are_counted_before_decoding(side: int) -> None:
    """The header claims a size; the pixels are not even there."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    chunks = b"".join(
        struct.pack(">I", len(body)) + name + body + struct.pack(">I", zlib.crc32(name + body))
        for name, body in ((b"IHDR", header), (b"IDAT", b""), (b"IEND", b""))
    )
    with pytest.raises(ImageTooLargeError):
        decode_picture(b"\x89PNG\r\n\x1a\n" + chunks, MOST)


def test_scans_are_counted_before_decoding() -> None:
    assert decode_picture(make_scan_bomb(32, MAX_SCANS), MOST).shape == (32, 32, 3)
    with pytest.raises(ImageTooLargeError, match="101 scans"):
        decode_picture(make_scan_bomb(32, MAX_SCANS + 1), MOST)
    with pytest.raises(ImageTooLargeError, match="20 scans"):
        decode_picture(make_scan_bomb(100, 20), MOST)  # of the largest picture, no more than encoders write


def test_what_looks_like_a_scan_is_none() -> None:
    """Marks in a comment, stuffed or restarted data, and what a camera appends behind the picture."""
    usual = to_bytes(make_gradient(64, 64), "JPEG")
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 400) + b"\xff\xda" * 200
    data = usual[:2] + comment + usual[2:] + b"\xff\xda" * 200
    assert (count_scans(usual), count_scans(data)) == (1, 1)
    assert decode_picture(data, MOST).shape == (64, 64, 3)
    hidden = make_scan_bomb(16, 10)
    assert count_scans(hidden[:2] + b"\xff\xfe\0\4\xff\xd9" + hidden[2:]) == 10


def test_a_header_tells_the_pixels() -> None:
    assert count_pixels(to_bytes(make_gradient(20, 10)), MOST) == 200
    with pytest.raises(UnsupportedImageError):
        count_pixels(b"hello", MOST)


def test_damaged_bytes_never_raise_anything_else() -> None:
    rng = np.random.default_rng(7)
    for kind in ("PNG", "JPEG", "WEBP"):
        whole = np.frombuffer(to_bytes(make_gradient(40, 30), kind), np.uint8)
        for _ in range(150):
            broken = whole.copy()
            broken[rng.integers(0, len(broken), 8)] = rng.integers(0, 256, 8)
            try:
                decode_picture(broken.tobytes(), MOST)
            except ImageError:
                continue


def test_encoded_pictures_come_back() -> None:
    picture = np.asarray(make_gradient(64, 64))
    np.testing.assert_array_equal(read_picture(encode_picture(picture, "png")), picture)
    with Image.open(BytesIO(encode_picture(picture, "webp"))) as image:
        assert image.format == "WEBP"
    assert len(encode_picture(picture, "jpeg", 95)) > len(encode_picture(picture, "jpeg", 10))


def test_a_large_picture_is_decoded_into_little_more_than_its_own_memory() -> None:
    picture = np.asarray(make_gradient(2000, 1501))
    data = encode_picture(picture, "png")
    tracemalloc.start()
    try:
        decoded = decode_picture(data, 4_000_000)
        assert tracemalloc.get_traced_memory()[1] < 2.5 * picture.nbytes
    finally:
        tracemalloc.stop()
    np.testing.assert_array_equal(decoded, picture)


def test_a_large_jpeg_is_written_by_way_of_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow lets other threads run only then; and the bytes are the same."""
    files: list[bool] = []
    save = Image.Image.save
    monkeypatch.setattr(
        Image.Image,
        "save",
        lambda image, file, *given, **more: (files.append(has_file(file)), save(image, file, *given, **more)),
    )
    picture = np.asarray(make_gradient(1100, 1000))
    small, large = encode_picture(picture[:900], "jpeg"), encode_picture(picture, "jpeg")
    assert files == [False, True]
    monkeypatch.undo()
    buffer = BytesIO()
    Image.fromarray(picture).save(buffer, "JPEG", quality=90)
    assert (large, read_picture(small).shape) == (buffer.getvalue(), (900, 1100, 3))


def has_file(file: IO[bytes]) -> bool:
    try:
        return file.fileno() >= 0
    except OSError:
        return False


def test_picture_too_long_for_its_format() -> None:
    with pytest.raises(OptionError, match="webp"):
        encode_picture(np.zeros((1, 16_384, 3), np.uint8), "webp")


def test_resizing_keeps_a_picture_of_that_size() -> None:
    picture = np.asarray(make_gradient(8, 8))
    assert resize_picture(picture, 8) is picture
    assert resize_picture(picture, 20).shape == (20, 20, 3)
