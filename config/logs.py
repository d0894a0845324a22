"""Log lines: one JSON object each, with the id of the request they belong to and no secret in them."""

import logging
import re

from pythonjsonlogger.json import JsonFormatter

from merchants import request_ids

KEY_CHARACTERS_SHOWN = 12  # "fth_sk_test_": what kind of key it was, and nothing of the key

_API_KEY = re.compile(r"fth_[a-z]{2}_(?:test|live)_[A-Za-z0-9]+")
# Whoever knows the address of a portal or of a hosted page may open it; paths of requests are logged when they fail.
_TOKEN = re.compile(r"(/portal/[A-Za-z-]+/)[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")


def redact(text: str) -> str:
    """Cut everything that looks like an API key down to its prefix, and tokens out of addresses."""
    text = _TOKEN.sub(r"\1[redacted]", text)
    return _API_KEY.sub(lambda key: f"{key[0][:KEY_CHARACTERS_SHOWN]}[redacted]", text)


class RequestIdFilter(logging.Filter):
    """Put the id of the request being served on every record."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.request_id = request_ids.current.get()
        return True


class RedactingJsonFormatter(JsonFormatter):
    """Format the record, traceback included, and only then look for secrets."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))
