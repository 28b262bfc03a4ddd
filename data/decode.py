"""The one reader of image files, for training, ``predict`` and ``restore``: 8-bit grey or RGB."""

from __future__ import annotations

import io
import struct
import warnings
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

# Formats whose decoders run no other program (EPS would call Ghostscript).
FORMATS = ("PNG", "JPEG", "BMP", "GIF", "WEBP", "TIFF", "PPM")
MAX_PIXELS = 64_000_000
MAX_RETRY_BYTES = 2**28
DARK_DRAWING = 64  # of 255: drawings without a lighter pixel get a white background
ORIENTATION = 0x0112  # EXIF tag
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT, 3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM, 5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270, 7: Image.Transpose.TRANSVERSE, 8: Image.Transpose.ROTATE_90,
}  # fmt: skip


class Levels(NamedTuple):
    """A range of grey values, ``low`` to ``high``; as a scale it becomes 0 to 255."""

    low: float
    high: float

    def scale(self) -> Levels:
        """The nominal range (0 to 1, or 8 to 16 bits), else from 0 or ``low`` to ``high``."""
        if self.low < 0:
            return self
        tops = (1, 255, 65535) if isinstance(self.high, float) else (255, 1023, 4095, 16383, 65535)
        nominal = (top for top in tops if top / 4 <= self.high <= top)
        return Levels(0, next(nominal, self.high or tops[0]))

    def merged(self, other: Levels) -> Levels:
        return Levels(min(self.low, other.low), max(self.high, other.high))


FULL_16_BIT = Levels(0, 65535)


def open_as_grey_or_rgb(path: Path) -> tuple[Image.Image, str]:
    """The image in a file at its own size, upright, "L" or "RGB", and a remark or "".

    Raises nearly any exception for a file that is not a proper image.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's, about metadata
        image = open_upright(path)
    levels = levels_of(image)
    if levels is None:
        return grey_or_rgb(image), ""
    scale = levels.scale()
    return grey_or_rgb(image, scale), f"values {scale.low:,g} to {scale.high:,g} became 0 to 255"


def open_upright(path: Path, size: tuple[int, int] | None = None) -> Image.Image:
    """The decoded image in its own mode; JPEG may shrink to no less than twice ``size``.

    Broken metadata do not matter as long as the pixels can be read.
    """
    try:
        image = _decoded(path, size)
    except Exception:  # decoders raise nearly anything, for broken metadata too
        small = path.stat().st_size < MAX_RETRY_BYTES
        content = without_metadata(path.read_bytes()) if small else None
        if content is None:
            raise
        image = _decoded(io.BytesIO(content), size)
    try:
        method = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except Exception:  # broken EXIF raises nearly anything
        method = None
    return image if method is None else image.transpose(method)


def levels_of(image: Image.Image) -> Levels | None:
    """The range of values if they are not 8-bit; None otherwise. Floats if the image has floats."""
    if image.mode == "F":
        values = np.asarray(image)
        values = values[np.isfinite(values)]
        return Levels(float(values.min()), float(values.max()))
    if image.mode.startswith("I"):
        values = np.asarray(image)
        return Levels(int(values.min()), int(values.max()))
    return None


def grey_or_rgb(image: Image.Image, scale: Levels = FULL_16_BIT) -> Image.Image:
    """8-bit grey ("L") or "RGB"; deep values by ``scale``, grey palettes as grey.

    The background of transparent images is black, or white if all that is visible is nearly black.
    """
    if image.mode == "F":
        values = np.nan_to_num(
            np.asarray(image), nan=scale.low, posinf=scale.high, neginf=scale.low
        )
        span = max(scale.high - scale.low, np.finfo(np.float32).tiny)
        values = (values - scale.low) / span * 255 + 0.5
        return Image.fromarray(values.clip(0, 255).astype(np.uint8))
    if image.mode.startswith("I"):
        values = np.asarray(image).astype(np.int64) - int(scale.low)
        values = values * 256 // (int(scale.high) - int(scale.low) + 1)
        return Image.fromarray(values.clip(0, 255).astype(np.uint8))
    grey = image.mode in ("1", "L", "LA", "La")
    palette = image.mode in ("P", "PA")
    if image.mode in ("LA", "PA", "RGBA", "La", "RGBa") or "transparency" in image.info:
        image = _on_background(image.convert("RGBA"))
    image = image.convert("L" if grey else "RGB")
    if palette:
        pixels = np.asarray(image)
        if (pixels == pixels[..., :1]).all():
            image = Image.fromarray(np.ascontiguousarray(pixels[..., 0]))
    return image


def _on_background(image: Image.Image) -> Image.Image:
    on_black = Image.alpha_composite(Image.new("RGBA", image.size, (0, 0, 0, 255)), image)
    if np.asarray(on_black)[..., :3].max() >= DARK_DRAWING:
        return on_black
    alpha = np.asarray(image)[..., 3]
    if not alpha.any() or alpha.min() == 255:  # nothing visible, or no background
        return on_black
    return Image.alpha_composite(Image.new("RGBA", image.size, (255, 255, 255, 255)), image)


def _decoded(source: Path | io.BytesIO, size: tuple[int, int] | None) -> Image.Image:
    with Image.open(source, formats=FORMATS) as image:
        if image.width * image.height > MAX_PIXELS:
            raise ValueError(f"more than {MAX_PIXELS:,} pixels")
        if size:
            # Lets the JPEG decoder shrink by 2, 4 or 8 while it reads; other formats ignore it.
            image.draft(None, (2 * max(size), 2 * max(size)))
        image.load()
        return image


PNG = b"\x89PNG\r\n\x1a\n"
PNG_PIXELS = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
JPEG_METADATA = (*range(0xE0, 0xEE), 0xEF, 0xFE)  # APP0 to APP15 but APP14 (colours), comment


def without_metadata(content: bytes) -> bytes | None:
    """A PNG or JPEG file reduced to what its pixels need; None for other files."""
    if content.startswith(PNG):
        parts, position = [PNG], len(PNG)
        while position + 12 <= len(content):
            length, kind = struct.unpack_from(">I4s", content, position)
            if kind in PNG_PIXELS:
                parts.append(content[position : position + 12 + length])
            position += 12 + length
        return b"".join(parts)
    if not content.startswith(b"\xff\xd8"):
        return None
    parts, position = [content[:2]], 2
    while position + 4 <= len(content) and content[position] == 0xFF:
        marker, length = struct.unpack_from(">BH", content, position + 1)
        if marker == 0xDA:  # the pixels follow
            break
        if marker not in JPEG_METADATA:
            parts.append(content[position : position + 2 + length])
        position += 2 + length
    return b"".join(parts) + content[position:]
