"""Logos: whatever picture is given is drawn anew as a small PNG, so that only its pixels reach documents. Pure."""

import io
import warnings

from merchants.errors import ValidationFailed

BYTES_MAX = 2_000_000  # of what is given
SIDE_MAX = 6_000  # pixels of what is given
WIDTH, HEIGHT = 480, 132  # pixels of what is kept: 11 mm high at 300 dpi
KEPT_BYTES_MAX = 120_000
FORMATS = ("PNG", "JPEG", "WEBP", "GIF")


def redrawn(picture: bytes) -> bytes:
    """Return a picture as PNG within the size of a logo.

    Raises:
        ValidationFailed: it is none of the raster formats, cannot be read, or is too large.
    """
    from PIL import Image, UnidentifiedImageError

    if len(picture) > BYTES_MAX:
        raise _refused(f"The picture must have at most {BYTES_MAX // 1_000_000} MB.")
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(io.BytesIO(picture), formats=FORMATS) as opened:
                if max(opened.size) > SIDE_MAX:
                    raise _refused(f"The picture must have at most {SIDE_MAX} pixels a side.")
                drawn = opened.convert("RGBA")
    except (UnidentifiedImageError, OSError, ValueError, SyntaxError, Image.DecompressionBombWarning) as error:
        raise _refused("This is no picture we can read: give a PNG, JPEG, WebP or GIF.") from error
    drawn.thumbnail((WIDTH, HEIGHT))
    flat = Image.new("RGB", drawn.size, "white")  # paper is white, and archives do without transparency
    flat.paste(drawn, mask=drawn.getchannel("A"))
    written = _written(flat)
    return written if len(written) <= KEPT_BYTES_MAX else _written(flat.quantize(64))


def _written(image: object) -> bytes:
    out = io.BytesIO()
    image.save(out, "PNG", optimize=True)  # type: ignore[attr-defined]
    return out.getvalue()


def _refused(message: str) -> ValidationFailed:
    return ValidationFailed(message, field="logo", code="INVALID_LOGO")
