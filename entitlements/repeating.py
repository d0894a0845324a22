"""An entitlement's movements carried out once more: what they leave, now or at a time in the past. Pure."""

from datetime import datetime
from decimal import Decimal
from typing import NamedTuple

from msgspec.structs import replace

from entitlements import burning
from entitlements.burning import Cut, Draws, Hold, Pool, Terms


class Step(NamedTuple):
    """A movement as it was recorded, to be carried out again; ids in hex."""

    kind: str
    source_id: str
    units: Decimal
    recorded_at: datetime
    happened_at: datetime | None = None  # of use
    reservation_id: str | None = None  # that use named
    pool: Pool | None = None  # of what was granted or received
    draws: Draws = []  # of use that was taken back or restored, and of a hold that was taken over
    start: datetime | None = None  # of the usage period that it counted in


class Replay:
    """An entitlement from its beginning on, movement by movement; it goes no further than to where it was ended."""

    def __init__(self, terms: Terms, ended_at: datetime | None = None, cut: Cut | None = None) -> None:
        self.allowance = burning.opened(terms if cut is None else replace(terms, active_to=cut.active_to))
        self._terms, self._cut, self._done = terms, cut, 0
        self._ended_at = ended_at or burning.NEVER
        self._holds: dict[str, Hold] = {}  # by reservation

    def carry_out(self, step: Step) -> Draws:
        """Make one movement; returns what it draws or gives back."""
        draws = self._carry_out(step)
        self._done += 1
        if self._cut is not None and self._cut.after == self._done and self._terms.active_to is not None:
            burning.cut_short(self.allowance, self._terms.active_to, self._done)
        return draws

    def _carry_out(self, step: Step) -> Draws:
        allowance, now = self.allowance, min(step.recorded_at, self._ended_at)
        burning.roll(allowance, now)
        if step.kind == "used":
            held = self._holds.get(step.reservation_id or "")
            return burning.use(allowance, step.units, step.happened_at or now, now, held)[0]
        if step.kind in ("held", "freed", "passed", "taken"):
            return self._hold(step, now)
        if step.kind == "voided":
            return burning.void(allowance, step.source_id)
        if step.kind == "carried":
            return burning.carry(allowance, step.source_id)
        if step.kind == "restored":
            burning.give_back(allowance, step.draws, allowance.start)
            return step.draws
        if step.kind == "returned":
            burning.take_back(allowance, step.units, step.draws, step.start or now)
            return step.draws
        if step.pool is not None:
            burning.grant(allowance, step.pool)
        return []

    def _hold(self, step: Step, now: datetime) -> Draws:
        allowance, key = self.allowance, step.source_id
        if step.kind == "held":
            made, _ = burning.hold(allowance, step.units, now)
            mine = self._holds.setdefault(key, Hold(made.start, []))
            mine.draws = mine.draws + made.draws
            return made.draws
        if step.kind == "taken":
            self._holds[key] = Hold(step.start or now, [*step.draws])
            burning.take_over(allowance, self._holds[key])
            return step.draws
        held = self._holds.pop(key)
        if step.kind == "freed":
            burning.free(allowance, held)
        else:
            burning.let_go(allowance, held)
        return held.draws
