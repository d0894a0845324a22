"""QR codes (ISO/IEC 18004) of addresses, as pictures. Pure."""

import segno

# Any of the eight masks can be read; choosing the fairest takes four times as long as all the rest.
_MASK = 2
QUIET = 4  # modules of nothing around it, as the standard asks for


def svg(text: str) -> str:
    """Return the code of a text as SVG, black on white; 15 % of it may be lost."""
    code = segno.make_qr(text, error="m", boost_error=False, mask=_MASK)
    drawn: str = code.svg_inline(border=QUIET, light="#fff", omitsize=True)
    return drawn.replace("<svg ", '<svg xmlns="http://www.w3.org/2000/svg" ', 1)
