"""Who may send next: a share for every endpoint, so that none is kept waiting by another that hangs.

An endpoint has a few connections at most, one that fails or is slow has fewer, and all that fail or are slow together
leave half of the slots to those that do not. Slots are dealt out one by one, in turns.
"""

import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

PER_ENDPOINT = 4
PER_TROUBLED_ENDPOINT = 2
PER_MERCHANT = 16


@dataclass(frozen=True, slots=True)
class Waiting:
    """An endpoint with something due: how much it is sent already, and whether it fails or is slow."""

    endpoint_id: uuid.UUID
    merchant_id: uuid.UUID
    due: int  # at least; counted up to PER_ENDPOINT
    busy: int
    since: datetime
    is_troubled: bool


def share(waiting: Iterable[Waiting], *, free: int, slots: int, troubled_busy: int) -> dict[uuid.UUID, int]:
    """Return how many deliveries each endpoint may have now.

    Args:
        free: of the slots, how many nobody uses.
        troubled_busy: how many are used by endpoints that fail or are slow.
    """
    queue = sorted(waiting, key=lambda each: (each.is_troubled, each.since))
    used: dict[uuid.UUID, int] = {}
    for each in queue:
        used[each.merchant_id] = used.get(each.merchant_id, 0) + each.busy
    given: dict[uuid.UUID, int] = {}
    troubled_free = slots // 2 - troubled_busy
    while queue and free > 0:
        stays = []
        for each in queue:
            count = given.get(each.endpoint_id, 0)
            if free <= 0 or not _has_room(each, count, used[each.merchant_id], troubled_free):
                continue
            given[each.endpoint_id] = count + 1
            used[each.merchant_id] += 1
            free -= 1
            troubled_free -= each.is_troubled
            stays.append(each)
        queue = stays
    return given


def _has_room(each: Waiting, count: int, merchant_uses: int, troubled_free: int) -> bool:
    cap = PER_TROUBLED_ENDPOINT if each.is_troubled else PER_ENDPOINT
    if each.is_troubled and troubled_free <= 0:
        return False
    return count < each.due and each.busy + count < cap and merchant_uses < PER_MERCHANT
