"""From the characters of an expression to its words: names, numbers, strings and operators."""

import re
from decimal import Decimal
from typing import Literal, NamedTuple

from metering.expressions import arithmetic
from metering.expressions.errors import Fault, Source
from metering.expressions.limits import SOURCE_CHARS_MAX

TokenKind = Literal["name", "number", "string", "operator", "end"]

KEYWORDS = frozenset({"true", "false", "null", "in"})
# Words the language keeps for those it is embedded in: no variables, but fields may be called so.
_RESERVED = "as break const continue else for function if import let loop package namespace return var void while"
RESERVED = frozenset(_RESERVED.split())


class Token(NamedTuple):
    """A word: for numbers and strings ``value`` is what they mean, else it is None."""

    kind: TokenKind
    text: str
    start: int
    end: int
    value: Decimal | str | None = None


_TOKEN = re.compile(
    r"""
    (?P<space> [\t\n\f\r ]++ | //[^\r\n]*+ )
    | (?P<number> 0[xX][0-9a-fA-F]++ | (?: [0-9]*+\.[0-9]++ | [0-9]++ ) (?: [eE][+-]?[0-9]++ )? ) (?P<unsigned> [uU]? )
    | (?P<prefix> [rR]?[bB]? | [bB][rR] ) (?P<quote> \"{3} | '{3} | \" | ' )
    | (?P<name> [_a-zA-Z][_a-zA-Z0-9]*+ )
    | (?P<operator> && | \|\| | [=!<>]= | [-+*/%<>!?:.,()\[\]{}] )
    """,
    re.VERBOSE,
)
_NOT_TEXT = re.compile("[\x00-\x08\x0b\x0e-\x1f\x7f\ud800-\udfff]")
_WORD = re.compile(r"[_a-zA-Z0-9]")
_is_integer = re.compile(r"[0-9]++|0[xX][0-9a-fA-F]++").fullmatch

# What stands between quotes, for each kind of quote and for raw strings. The alternatives exclude each other, so no
# character is looked at more than twice.
_BODIES = {
    (quote, is_raw): re.compile(pattern, re.DOTALL)
    for quote, is_raw, pattern in [
        ('"', False, r'((?:[^"\\\r\n]|\\[^\r\n])*)"'),
        ("'", False, r"((?:[^'\\\r\n]|\\[^\r\n])*)'"),
        ('"""', False, r'((?:[^"\\]|\\.|"(?!""))*)"""'),
        ("'''", False, r"((?:[^'\\]|\\.|'(?!''))*)'''"),
        ('"', True, r'([^"\r\n]*)"'),
        ("'", True, r"([^'\r\n]*)'"),
        ('"""', True, r'((?:[^"]|"(?!""))*)"""'),
        ("'''", True, r"((?:[^']|'(?!''))*)'''"),
    ]
}
_ESCAPE = re.compile(
    r"\\(?:(?P<plain>[abfnrtv\\?\"'`])|[xX](?P<byte>[0-9a-fA-F]{2})|u(?P<short>[0-9a-fA-F]{4})"
    r"|U(?P<long>[0-9a-fA-F]{8})|(?P<octal>[0-3][0-7]{2})|(?P<wrong>.))",
    re.DOTALL,
)
_PLAIN = {"a": "\a", "b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t", "v": "\v"}


def tokens(source: Source) -> list[Token]:
    """Return the words of an expression, the last of kind "end"; raises ExpressionError."""
    text = source.text
    if len(text) > SOURCE_CHARS_MAX:
        raise source.error(f"an expression has at most {SOURCE_CHARS_MAX:,} characters.", SOURCE_CHARS_MAX)
    if stray := _NOT_TEXT.search(text):
        raise source.error("this character is not text.", stray.start())
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise source.error(f'"{text[at]}" has no meaning here.', at)
        if match["quote"]:
            token = _string(source, match)
        elif match["number"]:
            token = _number(source, match)
        else:
            token = Token("name" if match["name"] else "operator", match[0], at, match.end())
        if not match["space"]:
            found.append(token)
        at = token.end
    found.append(Token("end", "", at, at))
    return found


def _number(source: Source, match: re.Match[str]) -> Token:
    written, start, end = match["number"], match.start(), match.end()
    if _WORD.match(source.text, end) or (match["unsigned"] and not _is_integer(written)):
        raise source.error("this is neither a number nor a name.", start, end + 1)
    is_hexadecimal = written[:2] in ("0x", "0X")
    try:
        if is_hexadecimal and len(written) > 34:
            raise Fault("the number is too large.")
        value = Decimal(int(written, 16)) if is_hexadecimal else arithmetic.parse(written)
    except Fault as fault:
        raise source.error(str(fault), start, end) from None
    return Token("number", match[0], start, end, value)


def _string(source: Source, match: re.Match[str]) -> Token:
    prefix, quote, start = match["prefix"].lower(), match["quote"], match.start()
    if "b" in prefix:
        raise source.error("there are no byte strings.", start, match.end())
    is_raw = "r" in prefix
    body = _BODIES[quote, is_raw].match(source.text, match.end())
    if body is None:
        raise source.error("this string has no end.", start, match.end())
    value = body[1] if is_raw or "\\" not in body[1] else _unescaped(source, body)
    return Token("string", source.text[start : body.end()], start, body.end(), value)


def _unescaped(source: Source, body: re.Match[str]) -> str:
    def character(escape: re.Match[str]) -> str:
        if plain := escape["plain"]:
            return _PLAIN.get(plain, plain)
        code = -1
        if digits := escape["byte"] or escape["short"] or escape["long"]:
            code = int(digits, 16)
        elif escape["octal"]:
            code = int(escape["octal"], 8)
        if not 0 <= code <= 0x10FFFF or 0xD800 <= code <= 0xDFFF:
            at = body.start() + escape.start()
            raise source.error(f"{escape[0]} is no escape sequence for a character.", at, at + len(escape[0]))
        return chr(code)

    return _ESCAPE.sub(character, body[1])
