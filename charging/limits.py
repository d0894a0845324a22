"""Budgets: spending limits that bind before anything is spent. Pure.

A call falls under every budget whose attribute it carries: what its events and reservations say in ``metadata`` under
``account``, ``user``, ``agent`` or ``session``. All of them must have room, or the call is refused and none has moved.

- What is spent is the sum of the window's charges, so it can be worked out again from them. It may fall below zero,
  where a price charges less for more; that leaves no more room than nothing spent.
- A reservation holds its ceiling in every budget it falls under until it ends, also from one window into the next:
  room = limit − spent − held. So a use that draws from it always has its room, and counts when it is charged.
- Where a budget is for some metrics only and a reservation for more, all of the reservation is held in it: any of its
  lines may draw all of it.
- A refund gives back to the window of the charge, and to none where that has passed.
- A budget on all that is spent in a currency counts nothing itself: the two pots know what was ever charged to them and
  what they hold now, and its mark says how much of that was before the window. It is written only when that changes:
  with a new window, when the limit is passed, and for a refund or a correction of what came before.
"""

from collections.abc import Sequence
from datetime import UTC
from decimal import Decimal
from uuid import UUID

import msgspec

from billing.money import NANOS_PLACES, from_nanos, scaled
from charging.book import Book, Charge, Event, Reservation
from charging.tallies import Budget, Mark, Tally
from entitlements.scopes import ATTRIBUTES, Attributes, value_of
from merchants import ids
from merchants.errors import BudgetExceeded
from metering import periods


class Use(msgspec.Struct, frozen=True, gc=False):
    """What a call takes of one metric; ``amount`` is in nanos, tax included."""

    metric_id: bytes
    quantity: Decimal
    amount: int


# What a call that is let through changes of one tally: what is spent, what is held.
Move = tuple[Budget, Tally, int, int]


# --- before anything is changed --------------------------------------------------------------------------


def leave_room(book: Book, currency: str, amount: int) -> bool:
    """Tell at a glance whether a charge may pass, and nothing has to be written of it: so with most charges.

    That takes budgets that the pots count for, in windows that have begun, and limits that are not passed.
    """
    used, held = _in_pots(book, currency)
    for budget in book.budgets:
        mark = budget.mark
        if mark is None:
            return False
        if budget.currency != currency:
            continue
        if book.now >= mark.end or max(used - mark.base, 0) + held + amount > budget.limit:
            return False
    return not book.tallies


def room_for_use(
    book: Book,
    attributes: Attributes,
    currency: str,
    uses: Sequence[Use],
    reservation: Reservation | None,
    captured: int,
) -> list[Move]:
    """Say how tallies change when these uses are charged; raises BudgetExceeded where one has no room for them.

    Args:
        reservation: the one they draw from, open or not; its attributes count.
        captured: nanos that it pays.
    """
    if reservation is not None:
        attributes = reservation.metadata
    is_open = reservation is not None and reservation.open
    moves: list[Move] = []
    full: list[Move] = []
    for budget, tally in _tallies(book, attributes, currency):
        required = spent = _taken(book, budget, currency, uses)
        freed = 0
        if is_open and reservation is not None:
            freed = _freed(book, budget, reservation, spent, captured)
            required = spent - freed
        moves.append((budget, tally, spent, -freed))
        if _is_full(budget, tally, required):
            full.append(moves[-1])
    if full:
        raise _exceeded(full)
    return moves


def room_for_hold(book: Book, attributes: Attributes, currency: str, lines: Sequence[Use]) -> list[Move]:
    """Say how tallies change when these lines are held; raises BudgetExceeded where one has no room for them."""
    total = sum(line.amount for line in lines)
    moves: list[Move] = []
    full: list[Move] = []
    for budget, tally in _tallies(book, attributes, currency):
        if budget.currency is None:
            held = _taken(book, budget, currency, lines)
        else:
            is_for = budget.currency == currency and any(_is_for(book, budget, line.metric_id) for line in lines)
            held = total if is_for else 0
        moves.append((budget, tally, 0, held))
        if _is_full(budget, tally, held):
            full.append(moves[-1])
    if full:
        raise _exceeded(full)
    return moves


def _is_full(budget: Budget, tally: Tally, required: int) -> bool:
    return required > 0 and budget.refuses and max(tally.spent, 0) + tally.held + required > budget.limit


def _tallies(book: Book, attributes: Attributes, currency: str | None) -> list[tuple[Budget, Tally]]:
    """The budgets that a call falls under, and their tallies as they stand now: in a new window nothing is spent.

    Args:
        currency: of those budgets that the pots count for, whose pots must all be in the book; None for none of them.
    """
    found = []
    tallies, now = book.tallies, book.now
    for budget in book.budgets:
        if budget.mark is not None:
            if budget.currency == currency:
                found.append((budget, _counted_by_pots(book, budget, budget.mark)))
            continue
        value = "" if budget.attribute is None else value_of(budget.attribute, budget.value, attributes)
        if value is None:
            continue
        tally = tallies.get((budget.id, value)) or _unused(book, budget, value)
        if now >= tally.end:
            tally.start, tally.end = periods.window_of(budget.window, budget.timezone, now)
            tally.spent = 0
        found.append((budget, tally))
    return found


def _in_pots(book: Book, currency: str | None) -> tuple[int, int]:
    """Say what usage was ever charged to the pots of a currency, and what they hold."""
    used = held = 0
    for wallet in book.wallets.values():
        if wallet.currency == currency:
            used += wallet.used
            held += wallet.held
    return used, held


def _counted_by_pots(book: Book, budget: Budget, mark: Mark) -> Tally:
    """Say how far a budget on all that is spent in its currency is used now."""
    key = (budget.id, "")
    tally = book.tallies.get(key)
    if tally is None:
        tally = Tally(budget.id, "", mark.start, mark.end, crossed_at=mark.crossed_at, base=mark.base, stored=True)
        book.tallies[key] = tally
    used, held = _in_pots(book, budget.currency)
    if book.now >= tally.end:
        tally.start, tally.end = periods.window_of(budget.window, budget.timezone, book.now)
        tally.base = used
    tally.spent, tally.held = used - (tally.base or 0), held
    return tally


def _unused(book: Book, budget: Budget, value: str) -> Tally:
    """Open a tally that was looked for and is not there; nothing may be let through on one that was not."""
    key = (budget.id, value)
    if key not in book.tallies_sought:
        raise LookupError("a tally was not read")
    tally = book.tallies[key] = Tally(*key)
    return tally


def _is_for(book: Book, budget: Budget, metric_id: bytes | None) -> bool:
    if budget.metric_id is not None and budget.metric_id != metric_id:
        return False
    return budget.product_id is None or (metric_id is not None and book.products.get(metric_id) == budget.product_id)


def _taken(book: Book, budget: Budget, currency: str, uses: Sequence[Use]) -> int:
    if budget.currency == currency and budget.metric_id is None and budget.product_id is None:
        return uses[0].amount if len(uses) == 1 else sum([use.amount for use in uses])
    if budget.currency is None:
        return sum(scaled(use.quantity, NANOS_PLACES) for use in uses if _is_for(book, budget, use.metric_id))
    if budget.currency != currency:
        return 0
    return sum(use.amount for use in uses if _is_for(book, budget, use.metric_id))


def _freed(book: Book, budget: Budget, reservation: Reservation, spent: int, captured: int) -> int:
    """How much of what an open reservation holds in a budget is no longer held when it is used."""
    return captured if _is_held(book, budget, reservation) else min(spent, _earmarked(budget, reservation))


def _is_held(book: Book, budget: Budget, reservation: Reservation) -> bool:
    """Tell whether a budget holds what a reservation holds, in money."""
    return budget.currency == book.wallets[reservation.wallet_id].currency and any(
        _is_for(book, budget, metric_id) for metric_id in reservation.metric_ids()
    )


def _earmarked(budget: Budget, reservation: Reservation) -> int:
    """How much a reservation still holds of a budget in units."""
    return int(reservation.earmarks.get(_mark(budget), 0)) if reservation.earmarks else 0


def _mark(budget: Budget) -> str:
    return str(UUID(bytes=budget.id))


def _rank(budget: Budget) -> tuple[int, bytes]:
    return 0 if budget.attribute is None else 1 + ATTRIBUTES.index(budget.attribute), budget.id


def _exceeded(full: Sequence[Move]) -> BudgetExceeded:
    """Name the widest of the budgets that have no room."""
    budget, tally, spent, held = min(full, key=lambda move: _rank(move[0]))
    details: dict[str, str | None] = {
        "budgetId": ids.text("bgt", budget.id),
        "name": budget.name,
        "scope": budget.attribute or "customer",
        "scopeValue": tally.value or budget.value,
        "window": budget.window,
        "resetsAt": None if tally.end == periods.EVER.end else tally.end.astimezone(UTC).isoformat()[:19] + "Z",
        "limit": shown(budget, budget.limit),
        "spent": shown(budget, tally.spent),
        "held": shown(budget, tally.held),
        "required": shown(budget, spent + held),
    }
    if budget.currency is not None:
        details["currency"] = budget.currency
    if budget.metric_id is not None:
        details["billableMetricId"] = ids.text("bm", budget.metric_id)
    return BudgetExceeded(f"The budget “{budget.name}” leaves no room for this.", details=details)


def shown(budget: Budget, number: int) -> str:
    """Write what a budget counts as a decimal string."""
    return from_nanos(number, 0 if budget.currency is None else 2)


# --- what is let through ---------------------------------------------------------------------------------


def apply(book: Book, moves: Sequence[Move], reservation: Reservation | None) -> None:
    """Carry out moves; what they take from or add to a reservation's units is noted on it."""
    for budget, tally, spent, held in moves:
        if not spent and not held:
            continue
        _move(book, budget, tally, spent, held)
        if reservation is not None and budget.currency is None and held:
            marks = dict(reservation.earmarks or {})
            left = int(marks.pop(_mark(budget), 0)) + held
            if left:
                marks[_mark(budget)] = str(left)
            reservation.earmarks = marks or None


def give_back(book: Book, reservation: Reservation) -> None:
    """Free in every budget what a reservation still holds, before it is closed."""
    for budget, tally in _tallies(book, reservation.metadata, None):
        held = reservation.held if _is_held(book, budget, reservation) else _earmarked(budget, reservation)
        if held:
            _move(book, budget, tally, 0, -held)
    reservation.earmarks = None


def correct_use(book: Book, event: Event, charges: Sequence[Charge], corrections: Sequence[Charge]) -> None:
    """Count what a correction or refund charges where its event's own charges were counted; it is never refused.

    Called before it is taken out of the pots.

    Args:
        charges: the event's own.
        corrections: those of the correction or refund.
    """
    uses = [Use(charge.metric_id or b"", charge.quantity, charge.gross) for charge in corrections]
    for budget, tally in _tallies(book, _attributes_of(book, event), event.currency):
        spent = _taken(book, budget, event.currency, uses)
        if not any(_is_counted(budget, tally, charge) for charge in charges):
            _leave_out(tally, spent)
        elif spent:
            _move(book, budget, tally, spent, 0)


def _attributes_of(book: Book, event: Event) -> Attributes:
    """What an event falls under: its reservation's attributes where it drew from one, else its own."""
    return event.metadata if event.reservation_id is None else book.reservations[event.reservation_id].metadata


def _is_counted(budget: Budget, tally: Tally, charge: Charge) -> bool:
    return tally.start <= charge.created_at < tally.end and charge.seq > budget.since.get(charge.wallet_id, 0)


def _move(book: Book, budget: Budget, tally: Tally, spent: int, held: int) -> None:
    tally.spent += spent
    tally.held += held
    is_crossed = tally.spent > budget.limit and (tally.crossed_at is None or tally.crossed_at < tally.start)
    if is_crossed:
        tally.crossed_at = book.now
    if budget.mark is None or is_crossed or tally.start != budget.mark.start:
        tally.changed = True


def _leave_out(tally: Tally, amount: int) -> None:
    """Keep an amount out of what is spent that its pots are about to count.

    What counts here itself lets go of a window that has passed: its sum is no longer what its charges come to.
    """
    if tally.base is not None:
        tally.base += amount
    tally.changed = True
