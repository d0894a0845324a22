"""The id of the request being served, by which an answer, its log lines and its audit entries are matched."""

import re
from contextvars import ContextVar

from merchants import ids

HEADER = "X-Request-Id"

_ACCEPTABLE = re.compile(r"[A-Za-z0-9_-]{8,64}")

#: Empty outside a request.
current: ContextVar[str] = ContextVar("request_id", default="")


def accept(offered: str | None) -> str:
    """Take the id a client offers when it is safe to log and to echo, else make one."""
    return offered if offered and _ACCEPTABLE.fullmatch(offered) else f"req_{ids.new_raw().hex()}"
