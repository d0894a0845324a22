"""Which characters the fonts of documents can print, read from their character maps. Pure.

Archive standards refuse a document with a missing glyph, so what no font has is printed as a box, and what is not
printed at all (joiners, variation selectors, controls) is left out.
"""

import re
import struct
import unicodedata
from collections.abc import Iterator
from functools import cache
from pathlib import Path

FONTS = Path(__file__).parent / "fonts"
BOX = "\u25a1"
BREAK = "\u200b"  # where a line may end, and nothing is printed
WORD_LENGTH_MAX = 24
_is_long_word = re.compile(rf"\S{{{WORD_LENGTH_MAX + 1},}}")
_SPACES = {"\t": " ", "\n": " ", "\r": " ", "\u2028": " ", "\u2029": " "}
_JOINERS = "\u200c\u200d"  # Arabic and Indic scripts need them
_BARRED = {"Cc", "Cs", "Cn"}  # from XML
_UNPRINTED = {"Cc", "Cf", "Cs", "Co", "Cn"}


def printable(text: str) -> str:
    """Return a text with what cannot be printed taken out or replaced, and long words made breakable."""
    said = "".join([_SPACES.get(char) or (char if _is_printable(char) else _instead(char)) for char in text])
    return _is_long_word.sub(lambda found: BREAK.join(found.group()), said)


def plain(text: str) -> str:
    """Return a text without what XML cannot hold: controls, and halves of characters."""
    return "".join(
        [_SPACES.get(char, char) for char in text if char in _SPACES or unicodedata.category(char) not in _BARRED]
    )


def _is_printable(char: str) -> bool:
    return ord(char) in _known() and (char in _JOINERS or not _is_silent(char))


def _is_silent(char: str) -> bool:
    is_variation = 0xFE00 <= ord(char) <= 0xFE0F or 0xE0100 <= ord(char) <= 0xE01EF
    return is_variation or unicodedata.category(char) in _UNPRINTED


def _instead(char: str) -> str:
    return "" if _is_silent(char) else BOX


@cache
def _known() -> frozenset[int]:
    return frozenset(point for path in sorted(FONTS.glob("*.ttf")) for point in _points(path.read_bytes()))


def _points(font: bytes) -> Iterator[int]:
    """Yield the code points of a font's character map (OpenType ``cmap``, formats 4 and 12)."""
    start = _table(font, b"cmap")
    (count,) = struct.unpack_from(">H", font, start + 2)
    for place in range(count):
        (offset,) = struct.unpack_from(">I", font, start + 4 + 8 * place + 4)
        (form,) = struct.unpack_from(">H", font, start + offset)
        if form == 4:
            yield from _segments(font, start + offset)
        elif form == 12:
            yield from _groups(font, start + offset)


def _table(font: bytes, name: bytes) -> int:
    (count,) = struct.unpack_from(">H", font, 4)
    for place in range(count):
        tag, _, offset, _ = struct.unpack_from(">4sIII", font, 12 + 16 * place)
        if tag == name:
            return int(offset)
    raise ValueError(f"a font without a table {name!r}")


def _segments(font: bytes, at: int) -> Iterator[int]:
    (doubled,) = struct.unpack_from(">H", font, at + 6)
    count = doubled // 2
    ends, starts = at + 14, at + 16 + doubled
    deltas, ranges = starts + doubled, starts + 2 * doubled
    for place in range(count):
        last, first, delta, offset = (
            struct.unpack_from(">H", font, base + 2 * place)[0] for base in (ends, starts, deltas, ranges)
        )
        for point in range(first, min(last, 0xFFFE) + 1):
            glyph = (point + delta) & 0xFFFF
            if offset:
                (glyph,) = struct.unpack_from(">H", font, ranges + 2 * place + offset + 2 * (point - first))
            if glyph:
                yield point


def _groups(font: bytes, at: int) -> Iterator[int]:
    (count,) = struct.unpack_from(">I", font, at + 12)
    for place in range(count):
        first, last, _ = struct.unpack_from(">III", font, at + 16 + 12 * place)
        yield from range(first, last + 1)
