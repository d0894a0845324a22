"""What the web server serves: the fast lane for the calls that move money, Django for everything else."""

import logging
import os
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from typing import Any

from django.core.asgi import get_asgi_application

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

logger = logging.getLogger(__name__)

LANE_VERBS = ("/release", "/extend")

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")
django = get_asgi_application()

from charging import lane  # noqa: E402 (Django is set up above)
from config import bodies  # noqa: E402
from config.processes import LANE_STOP_SECONDS_MAX  # noqa: E402

LANE_PATHS = frozenset(lane.ROUTES)


async def application(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve one connection, or the start and the end of the process."""
    if scope["type"] == "lifespan":
        await live(receive, send)
    elif is_for_lane(scope):
        await lane.application(scope, receive, send)
    else:
        await bodies.bounded(django, dict(scope), receive, send)


def is_for_lane(scope: Scope) -> bool:
    """Tell whether a request is a command that the fast lane decides."""
    if scope["type"] != "http" or scope["method"] != "POST":
        return False
    path: str = scope["path"]
    return path in LANE_PATHS or (
        path.startswith("/v0/entitlements/") and path.endswith(LANE_VERBS) and path.count("/") == 4
    )


async def live(receive: Receive, send: Send) -> None:
    """Start the lane before the first request, and let it finish what it accepted after the last."""
    while True:
        moment = (await receive())["type"]
        try:
            await (lane.startup() if moment == "lifespan.startup" else lane.shutdown(LANE_STOP_SECONDS_MAX))
        except Exception as error:  # the web server must hear of any failure, or it would serve without the lane
            logger.exception("%s failed", moment)
            await send({"type": f"{moment}.failed", "message": str(error)})
            return
        await send({"type": f"{moment}.complete"})
        if moment == "lifespan.shutdown":
            return
