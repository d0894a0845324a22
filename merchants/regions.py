"""Where a request wants to be served: regions are named in headers, and until edges exist the core serves all."""

from collections.abc import Collection

from merchants.errors import ValidationFailed

REGION_HEADER = "X-Paygentic-Region"
EDGE_HEADER = "X-Paygentic-Edge"
GLOBAL = "global"


def is_regional(*, region: str | None, edge: str | None, known: Collection[str]) -> bool:
    """Tell whether a request's headers ask for an edge; ``region`` and ``edge`` are their values or None.

    Raises:
        ValidationFailed: the region is not known, or the edge header is neither true nor false.
    """
    if edge is not None and edge not in ("true", "false"):
        raise ValidationFailed(f"{EDGE_HEADER} must be true or false.", field=EDGE_HEADER, code="INVALID_EDGE")
    if region is not None and region not in known:
        message = f"{region!a} is not a region; known are {', '.join(sorted(known))}."
        raise ValidationFailed(message[:200], field=REGION_HEADER, code="UNKNOWN_REGION")
    return region is not None or edge == "true"
