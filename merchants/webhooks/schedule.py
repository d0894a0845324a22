"""When a delivery that failed is tried again: at once, then after 5 s, 5 min, 30 min, 2 h, 5 h, 10 h and 10 h."""

import random
from datetime import timedelta

#: The pause before each attempt after the first.
PAUSES = (
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=10),
)
ATTEMPTS_MAX = len(PAUSES) + 1
JITTER = 0.1  # of a pause at most, so that what failed together does not come back together
RETRY_AFTER_MAX = timedelta(hours=24)

_random = random.Random()  # noqa: S311 (spreads load; hides nothing)


def pause(*, step: int, retry_after: str | None = None) -> timedelta | None:
    """Return how long to wait after an attempt failed; None when it was the last.

    Args:
        step: how many attempts of this round have failed, from 1 on.
        retry_after: the answer's header; where it asks for more patience than the schedule has, it is given.
    """
    if step > len(PAUSES):
        return None
    planned = PAUSES[step - 1] * (1 + JITTER * _random.random())
    return max(planned, min(_asked(retry_after), RETRY_AFTER_MAX))


def _asked(retry_after: str | None) -> timedelta:
    """Read seconds; a date, which the header may hold as well, is not worth trusting the peer's clock for."""
    text = (retry_after or "").strip()
    return timedelta(seconds=int(text)) if text.isascii() and text.isdigit() and len(text) <= 9 else timedelta(0)
