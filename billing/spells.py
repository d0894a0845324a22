"""Which plan a subscription is charged by at an instant, and which billing period that lies in. Pure.

A spell is the time in which one plan version is in force; they follow each other without a gap, and the last one has no
end of its own. Periods are counted from the spell's anchor: the subscription's start, the end of its trial, or the
change to a plan of another cadence. A trial is one period, however long it is.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from metering import periods
from metering.periods import Period


class Spell(NamedTuple):
    """A plan version that is in force from ``start`` on; its periods have a cadence and are counted from ``anchor``."""

    plan_version_id: bytes
    start: datetime
    anchor: datetime
    cadence: str


Written = Sequence[Sequence[Any]]  # as a subscription has them: [plan version in hex, start, anchor, cadence]


def read(written: Written) -> tuple[Spell, ...]:
    """Read spells as a subscription has them, where its plan was changed or will be."""
    return tuple(
        [
            Spell(bytes.fromhex(version), datetime.fromisoformat(start), datetime.fromisoformat(anchor), cadence)
            for version, start, anchor, cadence in written
        ]
    )


def write(spells: Sequence[Spell]) -> list[list[str]]:
    """Write spells as ``read`` reads them."""
    return [
        [spell.plan_version_id.hex(), spell.start.isoformat(), spell.anchor.isoformat(), spell.cadence]
        for spell in spells
    ]


def at(spells: Sequence[Spell], instant: datetime) -> Spell:
    """Return the spell that an instant lies in; the first one also before it begins."""
    found = spells[0]
    for spell in spells[1:]:
        if spell.start > instant:
            break
        found = spell
    return found


def period_of(spell: Spell, started_at: datetime, zone: str, instant: datetime) -> Period:
    """Return the billing period of an instant in a spell: what lies before the anchor is the trial."""
    if started_at <= instant < spell.anchor:
        return Period(started_at, spell.anchor)
    return periods.period_of(spell.anchor, periods.parse_cadence(spell.cadence), zone, instant)
