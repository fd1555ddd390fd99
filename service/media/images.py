"""Pictures in and out: bytes to upright RGB with limits checked before decoding, and RGB to bytes."""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from io import BytesIO
from tempfile import TemporaryFile
from typing import IO, Literal

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from service.errors import ImageTooLargeError, OptionError, UnsupportedImageError
from shared.errors import ImageError
from shared.pixels import Image8

PictureFormat = Literal["jpeg", "png", "webp"]

READ_FORMATS = ("JPEG", "PNG", "WEBP")
SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n", b"RIFF")
MEDIA_TYPES: Mapping[PictureFormat, str] = {"jpeg": "image/jpeg", "png": "image/png", "webp": "image/webp"}
PNG_XMP = "XML:com.adobe.xmp"  # the keyword of the iTXt chunk that holds it
MAX_SIDE: Mapping[PictureFormat, int] = {"jpeg": 65_500, "png": 1_000_000, "webp": 16_383}
DEFAULT_QUALITY = 90
# zlib level 1: a 256x256 face takes 8 ms and 10 % more bytes; Pillow's default of 6 took as long as the network.
PNG_LEVEL = 1
HELD_PIXELS = 1 << 20  # up to here a JPEG is written in 10 ms

# A progressive JPEG is decoded whole for each of its scans, and a scan may have 45 bytes; encoders write about ten.
MAX_SCANS = 100
MAX_SCANNED = 16  # pictures of `max_pixels`, over all scans together
# What a decoder takes for the next marker: not a stuffed zero, and none of those that stand alone.
JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])")
END_OF_IMAGE, START_OF_SCAN = 0xD9, 0xDA

ORIENTATION_TAG = 0x0112
# EXIF orientation -> what makes the picture upright.
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def decode_picture(data: bytes, max_pixels: int, shortest: int | None = None) -> Image8:
    """Bytes of a JPEG, PNG or WebP -> the upright picture ``(H, W, 3)``; transparency lies on white.

    With `shortest`, a JPEG whose sides are both at least twice as long may come at a half, a quarter or an eighth of
    its size, none of its sides shorter: its decoder then leaves the finest frequencies out, and most of its work.
    Raises UnsupportedImageError for other formats, ImageTooLargeError before decoding, and ImageError for a picture
    that is truncated or damaged.
    """
    with _open(data, max_pixels) as image:
        if shortest is not None:
            image.draft(None, (shortest, shortest))
        image.load()
        return _to_array(_flatten(_turn_upright(image)))


def count_pixels(data: bytes, max_pixels: int) -> int:
    """How many pixels `decode_picture` would give, by the header alone. Raises what that raises before decoding."""
    with _open(data, max_pixels) as image:
        return image.width * image.height


def count_scans(data: bytes) -> int:
    """How many scans a JPEG decoder would go through."""
    count, place = 0, 2
    while (marker := JPEG_MARKER.search(data, place)) is not None and marker[1][0] != END_OF_IMAGE:
        count += marker[1][0] == START_OF_SCAN
        place = marker.end() + int.from_bytes(data[marker.end() : marker.end() + 2])
    return count


@contextmanager
def _open(data: bytes, max_pixels: int) -> Iterator[Image.Image]:
    try:
        with Image.open(BytesIO(data), formats=READ_FORMATS) as image:
            pixels = image.width * image.height
            if pixels > max_pixels:
                raise ImageTooLargeError(
                    f"The picture has {image.width} x {image.height} pixels.", f"At most {max_pixels} pixels in all."
                )
            scans = count_scans(data) if image.format in ("JPEG", "MPO") else 1
            if scans > MAX_SCANS or scans * pixels > MAX_SCANNED * max_pixels:
                raise ImageTooLargeError(
                    f"The JPEG has {scans} scans, each of which is decoded over all of its {pixels} pixels.",
                    f"At most {MAX_SCANS} scans, and fewer of a large picture; about ten are usual.",
                )
            yield image
    except ImageTooLargeError:
        raise
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise ImageTooLargeError("The picture has far too many pixels.", f"At most {max_pixels} in all.") from error
    except Exception as error:  # Pillow's decoders raise anything at all on damaged bytes
        if data.startswith(SIGNATURES):
            raise ImageError("The picture is truncated or damaged; its data can't be decoded.") from error
        if not data:
            raise ImageError("The uploaded file is empty.") from error
        raise UnsupportedImageError("This file can't be read as a picture.", "A JPEG, PNG or WebP file.") from error


def encode_picture(picture: Image8, wanted: PictureFormat, quality: int | None = None, xmp: bytes = b"") -> bytes:
    """``(H, W, 3)`` -> bytes. `quality` is of jpeg and webp; `xmp` a packet of metadata to take along.

    Raises OptionError where the format can't be so large.
    """
    longest = max(picture.shape[:2])
    if longest > MAX_SIDE[wanted]:
        raise OptionError(
            f"A picture {longest} pixels long does not fit into {wanted}.",
            f"At most {MAX_SIDE[wanted]} pixels a side, or the format png.",
        )
    image = Image.fromarray(picture)
    # Pillow writes into memory with Python's lock held, a large JPEG in one go: no other thread would run meanwhile.
    with TemporaryFile() if image.width * image.height > HELD_PIXELS else BytesIO() as file:
        _write(image, file, wanted, quality, xmp)
        file.seek(0)
        return file.read()


def _write(image: Image.Image, file: IO[bytes], wanted: PictureFormat, quality: int | None, xmp: bytes) -> None:
    if wanted == "png":
        texts = PngInfo()
        if xmp:
            texts.add_itxt(PNG_XMP, xmp.decode())
        image.save(file, "PNG", compress_level=PNG_LEVEL, pnginfo=texts)
    elif wanted == "webp":
        image.save(file, "WEBP", quality=quality or DEFAULT_QUALITY, method=2, xmp=xmp)
    else:
        image.save(file, "JPEG", quality=quality or DEFAULT_QUALITY, xmp=xmp)


def resize_picture(picture: Image8, size: int) -> Image8:
    """A square picture at ``(size, size, 3)``."""
    if picture.shape[0] == size:
        return picture
    return np.asarray(Image.fromarray(picture).resize((size, size), Image.Resampling.LANCZOS))


def sniff_media_type(data: bytes) -> str:
    """The media type of a picture's bytes, its header alone read. Raises UnsupportedImageError."""
    try:
        with Image.open(BytesIO(data), formats=READ_FORMATS) as image:
            return str(image.get_format_mimetype())
    except Exception as error:
        raise UnsupportedImageError("This file can't be read as a picture.", "A JPEG, PNG or WebP file.") from error


def read_packet(data: bytes) -> bytes:
    """The XMP of a picture's bytes, its header alone read; empty where there is none."""
    try:
        with Image.open(BytesIO(data), formats=READ_FORMATS) as image:
            packet = image.info.get("xmp") or image.info.get(PNG_XMP) or b""
    except Exception:  # broken metadata does not spoil the picture
        return b""
    return packet.encode("utf-8", "replace") if isinstance(packet, str) else bytes(packet)


def _turn_upright(image: Image.Image) -> Image.Image:
    try:
        orientation = image.getexif().get(ORIENTATION_TAG)
    except Exception:  # broken metadata does not spoil the picture
        return image
    return image.transpose(UPRIGHT[orientation]) if orientation in UPRIGHT else image


def _flatten(image: Image.Image) -> Image.Image:
    """Any mode -> RGB. 16-bit grey is scaled, where Pillow would clip it to white."""
    if image.mode.startswith("I"):
        grey = np.asarray(image).astype(np.uint32) >> 8
        return Image.fromarray(np.clip(grey, 0, 255).astype(np.uint8)).convert("RGB")
    if image.has_transparency_data:
        white = Image.new("RGB", image.size, "white")
        coloured = image if image.mode == "RGBA" else image.convert("RGBA")
        white.paste(coloured, mask=coloured)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_array(image: Image.Image) -> Image8:
    """In strips: Pillow's own way has the whole picture in memory three times."""
    rows = max(1, HELD_PIXELS // image.width)
    if rows >= image.height:
        return np.asarray(image)
    array = np.empty((image.height, image.width, 3), np.uint8)
    for top in range(0, image.height, rows):
        array[top : top + rows] = np.asarray(image.crop((0, top, image.width, min(top + rows, image.height))))
    return array
