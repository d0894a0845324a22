"""How many requests a key and its merchant may send, and an address without one: counted in Redis, window by window.

The fast lane does not come here: it has a bounded queue of its own, and a call of it must not wait for Redis.
"""

import logging
import math
from datetime import datetime, timedelta
from functools import cache
from ipaddress import IPv4Address, ip_address, ip_network
from uuid import UUID

import redis
from django.conf import settings

from merchants.errors import TooManyRequests
from merchants.keys import KeyFacts

WINDOW_SECONDS = 10  # a burst may use up a window's requests at once
REDIS_SECONDS_MAX = 0.2
AWAY = timedelta(seconds=5)  # a Redis that did not answer is not asked for so long

logger = logging.getLogger(__name__)


class _Redis:
    """Whether Redis answers; one for each process. While it does not, nothing is counted and nobody is refused."""

    def __init__(self) -> None:
        self._lost_until: datetime | None = None

    def count(self, names: list[str], now: datetime, *, seconds: int = WINDOW_SECONDS) -> list[int]:
        """Count one more under each name and return how many there are in this window; nothing where Redis is away."""
        if self._lost_until is not None and now < self._lost_until:
            return []
        try:
            with _client(settings.REDIS_URL).pipeline(transaction=False) as pipeline:
                for name in names:
                    pipeline.incr(name)
                    pipeline.expire(name, 2 * seconds)
                counts = pipeline.execute()[::2]
        except redis.RedisError as error:
            if self._lost_until is None:
                logger.warning("requests are not counted while Redis is away: %s", error)
            self._lost_until = now + AWAY
            return []
        if self._lost_until is not None:
            logger.warning("requests are counted again")
            self._lost_until = None
        return counts


_redis = _Redis()


@cache
def _client(url: str) -> "redis.Redis":
    return redis.Redis.from_url(url, socket_timeout=REDIS_SECONDS_MAX, socket_connect_timeout=REDIS_SECONDS_MAX)


def take(facts: KeyFacts, now: datetime) -> None:
    """Count a request against its key and its merchant; a limit of 0 is none.

    Raises:
        TooManyRequests: one of the two has used up this window; it says when the next begins.
    """
    limits = {
        f"key:{facts.key_id.hex}": ("This API key", settings.RATE_PER_KEY),
        f"all:{facts.merchant_id.hex}": ("Your account", settings.RATE_PER_MERCHANT),
    }
    limits = {name: (who, rate) for name, (who, rate) in limits.items() if rate}
    if not limits:
        return
    window, since = divmod(now.timestamp(), WINDOW_SECONDS)
    # What one request counts lies together, also where keys are spread over several servers.
    names = [f"farthing:rate:{{{facts.merchant_id.hex}}}:{name}:{int(window)}" for name in limits]
    for (who, rate), count in zip(limits.values(), _redis.count(names, now), strict=False):
        if count > rate * WINDOW_SECONDS:
            message = f"{who} may send {rate * WINDOW_SECONDS} requests in {WINDOW_SECONDS} seconds."
            raise TooManyRequests(message, retry_after=math.ceil(WINDOW_SECONDS - since))


def take_one(what: str, *, merchant_id: UUID, most: int, seconds: int, now: datetime) -> None:
    """Count one more of something that a merchant may do so many times in so many seconds.

    Raises:
        TooManyRequests: this window is used up; it says when the next begins.
    """
    window, since = divmod(now.timestamp(), seconds)
    name = f"farthing:rate:{{{merchant_id.hex}}}:{what}:{int(window)}"
    if any(count > most for count in _redis.count([name], now, seconds=seconds)):
        wait = math.ceil(seconds - since)
        often = "once" if most == 1 else f"{most} times"
        message = f"This may be done {often} in {seconds} seconds. Try again in {wait} s."
        raise TooManyRequests(message, retry_after=wait)


def take_from(address: str | None, what: str, *, most: int, seconds: int, now: datetime) -> None:
    """Count one more of something that may be done so many times in so many seconds from one address; 0 is no limit.

    An IPv6 address stands for its network of 64 bits, of which one person has all. Where nobody knows the address, all
    such requests count as one's.

    Raises:
        TooManyRequests: this window is used up; it says when the next begins.
    """
    if not most:
        return
    window, since = divmod(now.timestamp(), seconds)
    name = f"farthing:rate:{{{_network(address)}}}:{what}:{int(window)}"
    if any(count > most for count in _redis.count([name], now, seconds=seconds)):
        wait = math.ceil(seconds - since)
        message = f"Too many attempts came from your network. Try again in {_said(wait)}."
        raise TooManyRequests(message, retry_after=wait)


def _network(address: str | None) -> str:
    if address is None:
        return "unknown"
    known = ip_address(address)
    if isinstance(known, IPv4Address):
        return str(known)
    return str(known.ipv4_mapped or ip_network((known, 64), strict=False))


def _said(seconds: int) -> str:
    minutes = math.ceil(seconds / 60)
    return f"{seconds} seconds" if seconds < 60 else "a minute" if minutes == 1 else f"{minutes} minutes"
