"""Spells: at every instant one plan and one period, and periods that follow each other without a gap."""

from datetime import timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from billing import spells
from billing.spells import Spell
from tests.billing.buyers import utc

START = utc(2026, 1, 31, 9)
minutes = st.integers(0, 3 * 365 * 24 * 60).map(lambda number: START + timedelta(minutes=number))


def drawn(trial_days: int, changes: list[tuple[int, str]]) -> list[Spell]:
    """Spells of a subscription; a change to another cadence comes at the end of a period, as it must."""
    known = [Spell(b"\0" * 16, START, START + timedelta(days=trial_days), "P1M")]
    for number, (days, cadence) in enumerate(changes, 1):
        last = known[-1]
        at = last.start + timedelta(days=days)
        if cadence != last.cadence:
            at = spells.period_of(last, START, "Europe/Berlin", at).end
        anchor = last.anchor if cadence == last.cadence else at
        known.append(Spell(bytes([number]) * 16, at, anchor, cadence))
    return known


many = st.builds(
    drawn, st.integers(0, 40), st.lists(st.tuples(st.integers(1, 200), st.sampled_from(["P1M", "P1Y"])), max_size=3)
)


@settings(max_examples=50)
@given(known=many, at=minutes)
def test_the_period_of_an_instant_contains_it_and_is_followed_by_another(known, at):
    period = spells.period_of(spells.at(known, at), START, "Europe/Berlin", at)
    assert period.start <= at < period.end
    following = spells.period_of(spells.at(known, period.end), START, "Europe/Berlin", period.end)
    assert following.start == period.end


@given(known=many)
def test_are_read_as_they_are_written(known):
    assert list(spells.read(spells.write(known))) == known
