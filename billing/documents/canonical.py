"""The one way a document is written down, so that the same document always has the same digest. Pure."""

import hashlib
import json
from typing import Any


def write(document: dict[str, Any]) -> str:
    """Return a document as canonical JSON: names sorted, no spaces, nothing but text, whole numbers, flags and nulls.

    Raises:
        ValueError: it holds a float, whose text is not the same everywhere.
    """
    _check(document)
    return json.dumps(document, ensure_ascii=False, sort_keys=True, separators=(",", ":"), allow_nan=False)


def read(text: str) -> dict[str, Any]:
    """Return what canonical JSON says."""
    document: dict[str, Any] = json.loads(text)
    return document


def digest(text: str) -> bytes:
    """Return the SHA-256 of a document's text."""
    return hashlib.sha256(text.encode()).digest()


def _check(value: object) -> None:
    if isinstance(value, float):
        raise ValueError(f"a document holds no floats: {value}")
    if isinstance(value, dict):
        for each in value.values():
            _check(each)
    elif isinstance(value, list):
        for each in value:
            _check(each)
