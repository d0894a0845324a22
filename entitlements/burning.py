"""How use burns down the grants of a metered entitlement. Pure.

An **allowance** is what an entitlement's grants have left in its present usage period, each in a **pool**. Periods are
half-open, counted from an anchor in the merchant's time zone (``metering.periods``). Everything happens at the time at
which it is recorded, which never runs backwards, so that an allowance is its movements carried out one after the other:

- Use is covered by the pools in effect: lower priority first, then those that expire first, then those granted first.
  What they do not cover is overage. So within a period, and while no pool comes or goes, the order of arrival changes
  neither what is left nor the overage.
- At a reset each pool keeps what it has, but at least ``least`` and at most ``most``: min(most, max(least, balance)),
  as in OpenMeter (openmeter/credit/grant, RolloverBalance). A pool that recurs receives its amount on top of that.
  Overage is forgiven, or burns down the new balances before anything else does (openmeter/credit/engine, reset).
- A pool that expires or is voided takes with it what it has left, and nothing that was drawn from it.
- What a reservation holds has left the pools: it is good whatever becomes of them. What is given back goes where it
  came from, if that is still there and no reset has come between, or the pool rolls over whole; else it has lapsed.
- Late use, of a period that is over, does not touch the present one: neither its use nor its overage, nor a pool that a
  reset tells apart. It is covered by what lapsed at the last reset, if it is of the period before that, then by the
  pools that roll over whole, which would be left with the same had it come in time. Use that is dated ahead is of the
  present period.
"""

from datetime import UTC, datetime
from decimal import Decimal

import msgspec
from msgspec.structs import replace

from billing.money import EXACT
from metering import periods

POOLS_MAX = 100  # of one allowance: each use looks at all of them

LAPSED = "lapsed"  # stands for a grant where late use draws on what lapsed at the last reset

_ZERO = Decimal(0)
NEVER = datetime.max.replace(tzinfo=UTC)

Draws = list[tuple[str, Decimal]]  # grant id (hex) and units, in the order in which they were drawn


class Terms(msgspec.Struct, frozen=True, omit_defaults=True):
    """What an entitlement agrees: its usage period, an ISO 8601 duration, its limit, and how long it lives."""

    interval: str
    anchor: datetime
    timezone: str
    active_from: datetime
    active_to: datetime | None = None
    is_soft: bool = False
    preserves_overage: bool = False

    def in_force(self, at: datetime) -> bool:
        """Tell whether use at an instant falls under the entitlement."""
        return self.active_from <= at and (self.active_to is None or at < self.active_to)


class Cut(msgspec.Struct, frozen=True, omit_defaults=True):
    """That the end of an entitlement was brought forward: after how many movements, and what it was before."""

    after: int
    active_to: datetime | None = None


class Pool(msgspec.Struct, omit_defaults=True):
    """What is left of one grant."""

    grant_id: str
    amount: Decimal
    left: Decimal
    priority: int
    effective_at: datetime
    expires_at: datetime | None = None
    least: Decimal = _ZERO
    most: Decimal | None = None
    recurs: bool = False

    @property
    def rolls_whole(self) -> bool:
        """Tell whether a reset leaves it as it is."""
        return self.most is None and not self.least and not self.recurs


class Allowance(msgspec.Struct, omit_defaults=True):
    """What is left in the usage period from ``start`` to ``end``, and what became of the rest.

    ``held`` has left the pools for reservations, and the ``carried`` grants for the entitlement that took the place of
    this one. ``lapsed`` is what the last reset took, and what late use of the
    period from ``lapsed_from`` on may still have. What was used before a ``cut`` keeps what it drew.
    """

    terms: Terms
    start: datetime
    end: datetime
    pools: list[Pool] = []
    used: Decimal = _ZERO
    overage: Decimal = _ZERO
    held: Decimal = _ZERO
    lapsed: Decimal = _ZERO
    lapsed_from: datetime | None = None
    carried: list[str] = []
    cut: Cut | None = None

    def copy(self) -> "Allowance":
        """Return one that can be changed without changing this."""
        return replace(self, pools=[replace(pool) for pool in self.pools])

    def balance(self, now: datetime) -> Decimal:
        """Return what new use may still take; ``roll`` it first."""
        return total([(pool.grant_id, pool.left) for pool in self.pools if pool.effective_at <= now])


encode = msgspec.json.Encoder().encode
decode = msgspec.json.Decoder(Allowance).decode


def total(draws: Draws) -> Decimal:
    """Add up draws."""
    units = _ZERO
    for _, part in draws:
        units = EXACT.add(units, part)
    return units


def opened(terms: Terms) -> Allowance:
    """Return the allowance of an entitlement as it begins: in its first usage period, with nothing granted."""
    start, end = _period(terms, terms.active_from)
    return Allowance(terms, start, end)


def _period(terms: Terms, at: datetime) -> periods.Period:
    return periods.period_of(terms.anchor, periods.parse_cadence(terms.interval), terms.timezone, at)


def period_start(allowance: Allowance, at: datetime) -> datetime:
    """Return when the usage period began that use at an instant counts in."""
    return allowance.start if at >= allowance.start else _period(allowance.terms, at).start


def cut_short(allowance: Allowance, active_to: datetime, after: int) -> None:
    """Bring an entitlement's end forward, after so many of its movements."""
    allowance.cut = Cut(after, allowance.terms.active_to)
    allowance.terms = replace(allowance.terms, active_to=active_to)


# --- time ------------------------------------------------------------------------------------------------


def roll(allowance: Allowance, now: datetime) -> None:
    """Bring an allowance to the present: through every reset that is due, and without the pools that have expired."""
    if allowance.terms.active_to is not None:
        now = min(now, allowance.terms.active_to)
    while now >= allowance.end:
        if not allowance.pools and not allowance.overage and not allowance.used and not allowance.held:
            # Every reset from here on is like the next, so the last one is enough.
            allowance.start, allowance.end = _period(allowance.terms, now)
            allowance.lapsed, allowance.lapsed_from = _ZERO, None
            return
        _reset(allowance)
    _expire(allowance, now)


def _expire(allowance: Allowance, at: datetime) -> None:
    if any(pool.expires_at is not None and pool.expires_at <= at for pool in allowance.pools):
        allowance.pools = [pool for pool in allowance.pools if pool.expires_at is None or pool.expires_at > at]


def _reset(allowance: Allowance) -> None:
    """End the present usage period and begin the next."""
    at = allowance.end
    _expire(allowance, at)
    allowance.lapsed, allowance.lapsed_from = _ZERO, allowance.start
    for pool in allowance.pools:
        if pool.effective_at < at:
            kept = max(pool.least, pool.left)
            kept = kept if pool.most is None else min(pool.most, kept)
            allowance.lapsed = EXACT.add(allowance.lapsed, max(_ZERO, EXACT.subtract(pool.left, kept)))
            pool.left = EXACT.add(kept, pool.amount) if pool.recurs else kept
    if not allowance.held:  # else some of it may come back
        allowance.pools = [pool for pool in allowance.pools if pool.left or pool.recurs or pool.least]
    overage = allowance.overage if allowance.terms.preserves_overage else _ZERO
    allowance.used = _ZERO
    allowance.start, allowance.end = _period(allowance.terms, at)
    _, allowance.overage = _draw(allowance.pools, overage, at)


# --- movements -------------------------------------------------------------------------------------------


def grant(allowance: Allowance, pool: Pool) -> None:
    """Add a grant; what was used before it is not covered by it."""
    allowance.pools.append(pool)


def void(allowance: Allowance, grant_id: str) -> Draws:
    """Take away what is left of a grant."""
    taken = [(pool.grant_id, pool.left) for pool in allowance.pools if pool.grant_id == grant_id]
    allowance.pools = [pool for pool in allowance.pools if pool.grant_id != grant_id]
    return taken


def carry(allowance: Allowance, grant_id: str) -> Draws:
    """Take away what is left of a grant that goes on elsewhere; what is given back to it does not come back here."""
    allowance.carried = [*allowance.carried, grant_id]
    return void(allowance, grant_id)


def use(
    allowance: Allowance, units: Decimal, at: datetime, now: datetime, held: "Hold | None" = None
) -> tuple[Draws, Decimal]:
    """Take units for use that happened at an instant: what a hold has first, then what the pools have.

    What is held is good beyond the end of the entitlement, and nothing else is.

    Returns:
        What was drawn, and how much of the use nothing covers.
    """
    is_late = at < allowance.start
    draws, short = ([], units) if held is None else held.take(units)
    allowance.held = EXACT.subtract(allowance.held, EXACT.subtract(units, short))
    if is_late:
        late, short = _draw_late(allowance, short, at, now)
        return draws + late, short
    allowance.used = EXACT.add(allowance.used, units)
    if not allowance.terms.in_force(at):
        return draws, short
    drawn, short = _draw(allowance.pools, short, now)
    allowance.overage = EXACT.add(allowance.overage, short)
    return draws + drawn, short


def hold(allowance: Allowance, units: Decimal, now: datetime) -> tuple["Hold", Decimal]:
    """Set units aside; returns what was drawn, and how much there is not."""
    draws, short = _draw(allowance.pools, units, now)
    allowance.held = EXACT.add(allowance.held, EXACT.subtract(units, short))
    return Hold(allowance.start, draws), short


def free(allowance: Allowance, held: "Hold") -> None:
    """Give back what a hold still has."""
    let_go(allowance, held)
    give_back(allowance, held.draws, held.start)


def hand_over(old: Allowance, new: Allowance, held: "Hold") -> None:
    """Have a hold go on under the allowance that takes the place of another; bring both to the present first.

    It stays good for its units. What is given back of it goes to grants that were carried over with it, if any.
    """
    let_go(old, held)
    if held.start == old.start:
        held.start = new.start
    take_over(new, held)


def let_go(allowance: Allowance, held: "Hold") -> None:
    """Answer no more for a hold."""
    allowance.held = EXACT.subtract(allowance.held, total(held.draws))


def take_over(allowance: Allowance, held: "Hold") -> None:
    """Answer for a hold that another allowance had set aside."""
    allowance.held = EXACT.add(allowance.held, total(held.draws))


def give_back(allowance: Allowance, draws: Draws, start: datetime) -> None:
    """Return units to where they were drawn from, in the usage period that began at ``start``."""
    pools = {pool.grant_id: pool for pool in allowance.pools}
    for grant_id, units in draws:
        pool = pools.get(grant_id)  # none of what was drawn from what had lapsed
        if grant_id in allowance.carried:
            continue
        if pool is not None and (start == allowance.start or pool.rolls_whole):
            pool.left = EXACT.add(pool.left, units)
        elif start == allowance.lapsed_from:
            allowance.lapsed = EXACT.add(allowance.lapsed, units)


def take_back(allowance: Allowance, units: Decimal, draws: Draws, start: datetime) -> None:
    """Undo use that counted in the usage period that began at ``start``: it is as if it had not been covered.

    What other use was charged in the meantime stays charged.
    """
    give_back(allowance, draws, start)
    if start == allowance.start:
        allowance.used = EXACT.subtract(allowance.used, units)
        short = EXACT.subtract(units, total(draws))
        allowance.overage = max(_ZERO, EXACT.subtract(allowance.overage, short))


def _draw(pools: list[Pool], units: Decimal, now: datetime) -> tuple[Draws, Decimal]:
    """Take units from the pools in effect, in their order; returns what was drawn, and what is missing."""
    draws: Draws = []
    if units:
        for pool in sorted(pools, key=_rank):
            if pool.left and pool.effective_at <= now:
                part = min(pool.left, units)
                pool.left, units = EXACT.subtract(pool.left, part), EXACT.subtract(units, part)
                draws.append((pool.grant_id, part))
                if not units:
                    break
    return draws, units


def _rank(pool: Pool) -> tuple[int, datetime]:
    return pool.priority, pool.expires_at or NEVER  # sorting keeps the order of granting


def _draw_late(allowance: Allowance, units: Decimal, at: datetime, now: datetime) -> tuple[Draws, Decimal]:
    draws: Draws = []
    if allowance.lapsed_from is not None and at >= allowance.lapsed_from:
        part = min(allowance.lapsed, units)
        if part:
            allowance.lapsed, units = EXACT.subtract(allowance.lapsed, part), EXACT.subtract(units, part)
            draws.append((LAPSED, part))
    drawn, units = _draw([pool for pool in allowance.pools if pool.rolls_whole], units, now)
    return draws + drawn, units


class Hold(msgspec.Struct):
    """Decimal set aside in the usage period that began at ``start``, by the grants they came from."""

    start: datetime
    draws: Draws

    def take(self, units: Decimal) -> tuple[Draws, Decimal]:
        """Take units out of the hold; returns what was taken, and what is missing."""
        taken: Draws = []
        left: Draws = []
        for grant_id, has in self.draws:
            part = min(has, units)
            units = EXACT.subtract(units, part)
            if part:
                taken.append((grant_id, part))
            if part < has:
                left.append((grant_id, EXACT.subtract(has, part)))
        self.draws = left
        return taken, units


class Held(msgspec.Struct):
    """What a reservation holds of one entitlement, as it is kept with the reservation; ids in hex."""

    entitlement_id: str
    metric_id: str
    hold: Hold


encode_held = msgspec.json.Encoder().encode
decode_held = msgspec.json.Decoder(list[Held]).decode
