"""Rendering: a document as PDF, by typst, from what it says and nothing else. Pure: no database, clock or network.

The same document gives the same bytes: the fonts are ours, dates and ids come from the document, and the layout reads
no other files and no addresses. Output is PDF/A-3a and PDF/UA-1: it can be archived, and read aloud.
"""

import json
import threading
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from billing.documents import codes, hybrids, printing
from billing.documents.glyphs import FONTS

if TYPE_CHECKING:
    import typst

_LAYOUTS = Path(__file__).parent / "layouts"
_STANDARDS = ["a-3a", "ua-1"]
_kept = threading.local()  # one compiler a thread: it remembers fonts and what it laid out before


def pdf(document: Mapping[str, Any], *, logo: bytes | None = None, einvoice: str = "") -> bytes:
    """Return a document's PDF.

    Args:
        logo: the PNG that the document names by its digest.
        einvoice: the document as XML, to be embedded; empty where there is none.

    Raises:
        typst.TypstError: the document cannot be set.
    """
    made = _compile(document, logo, einvoice, format="pdf", pdf_standards=_STANDARDS)
    if not isinstance(made, bytes):
        raise TypeError("a PDF is one file")
    return hybrids.declared(made) if einvoice else made


def pictures(document: Mapping[str, Any], *, logo: bytes | None = None) -> list[bytes]:
    """Return a document's pages as PNG."""
    made = _compile(document, logo, "", format="png", ppi=110)
    return [made] if isinstance(made, bytes) else list(made or [])


def _compile(
    document: Mapping[str, Any], logo: bytes | None, einvoice: str, **options: Any
) -> bytes | list[bytes] | None:
    inputs = {
        "data": json.dumps(printing.pages(document)),
        "logo": (logo or b"").decode("latin-1"),  # inputs are text: a character for each byte
        "einvoice": einvoice,
        **_online(document),
    }
    issued = datetime.fromisoformat(document["issueDate"]).replace(tzinfo=UTC)
    return _compiler().compile(input=_layout(document["layout"]), sys_inputs=inputs, timestamp=issued, **options)


def _online(document: Mapping[str, Any]) -> dict[str, str]:
    """Where a document can be paid, as an address and as the code of it; empty where it cannot."""
    payment = document.get("payment")
    return {"url": payment["url"], "code": codes.svg(payment["url"])} if payment else {"url": "", "code": ""}


def _compiler() -> "typst.Compiler":
    import typst  # here, since few processes ever need it

    if not hasattr(_kept, "compiler"):
        _kept.compiler = typst.Compiler(root=_LAYOUTS, font_paths=[FONTS], ignore_system_fonts=True)
    compiler: typst.Compiler = _kept.compiler
    return compiler


@cache
def _layout(number: int) -> bytes:
    return (_LAYOUTS / str(number) / "document.typ").read_bytes()
