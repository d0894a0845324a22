from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from metering import windows
from tests.metering.test_periods import ZONES


def shown(size: str, zone: str, start: str, end: str) -> list[str]:
    """The boundaries, as clocks of the zone show them."""
    span = [datetime.fromisoformat(at).replace(tzinfo=UTC) for at in (start, end)]
    found = windows.boundaries(size, zone, *span, most=100)
    return [at.astimezone(ZoneInfo(zone)).strftime("%d %H:%M%z") for at in found]


class TestBoundaries:
    @pytest.mark.parametrize(
        ("size", "zone", "start", "end", "boundaries"),
        [
            # Clocks go back from 3 to 2: there is a second hour of 2.
            (
                "HOUR", "Europe/Berlin", "2026-10-24T23:30", "2026-10-25T02:00",
                ["25 01:30+0200", "25 02:00+0200", "25 02:00+0100", "25 03:00+0100"],
            ),
            # Clocks go forward from 2 to 3: there is no hour of 2.
            (
                "HOUR", "Europe/Berlin", "2026-03-29T00:00", "2026-03-29T02:00",
                ["29 01:00+0100", "29 03:00+0200", "29 04:00+0200"],
            ),
            # Clocks go back by half an hour, from 2 to 1:30.
            (
                "HOUR", "Australia/Lord_Howe", "2026-04-04T14:00", "2026-04-04T16:30",
                ["05 01:00+1100", "05 01:30+1030", "05 02:00+1030", "05 03:00+1030"],
            ),
            (
                "HOUR", "Asia/Kathmandu", "2026-04-04T14:00", "2026-04-04T15:20",
                ["04 19:45+0545", "04 20:00+0545", "04 21:00+0545", "04 21:05+0545"],
            ),
            (
                "DAY", "Europe/Berlin", "2026-10-23T22:00", "2026-10-26T12:00",
                ["24 00:00+0200", "25 00:00+0200", "26 00:00+0100", "26 13:00+0100"],
            ),
            # A day without a midnight begins at one.
            (
                "DAY", "America/Sao_Paulo", "2018-11-03T03:00", "2018-11-05T02:00",
                ["03 00:00-0300", "04 01:00-0200", "05 00:00-0200"],
            ),
            (
                "MONTH", "America/New_York", "2026-01-31T12:00", "2026-04-01T04:00",
                ["31 07:00-0500", "01 00:00-0500", "01 00:00-0500", "01 00:00-0400"],
            ),
            (
                "MINUTE", "UTC", "2026-01-31T12:00:30", "2026-01-31T12:02:00",
                ["31 12:00+0000", "31 12:01+0000", "31 12:02+0000"],
            ),
        ],
    )  # fmt: skip
    def test_are_those_of_the_zones_clocks(self, size, zone, start, end, boundaries):
        assert shown(size, zone, start, end) == boundaries

    @settings(max_examples=100)
    @given(
        size=st.sampled_from(windows.SIZES),
        zone=st.sampled_from(ZONES),
        start=st.datetimes(datetime(2001, 1, 1), datetime(2099, 1, 1), timezones=st.just(UTC)),
        minutes=st.integers(1, 3_000),
    )
    def test_tile_the_span(self, size, zone, start, minutes):
        end = start + timedelta(minutes=minutes)

        found = windows.boundaries(size, zone, start, end, most=4_000)

        assert (found[0], found[-1]) == (start, end)
        assert all(before < after for before, after in pairwise(found))
        longest = {"MINUTE": 1, "HOUR": 60, "DAY": 48 * 60, "MONTH": 32 * 24 * 60}[size]
        assert all(after - before <= timedelta(minutes=longest) for before, after in pairwise(found))

    def test_are_bounded(self):
        start = datetime(2026, 1, 1, tzinfo=UTC)

        assert len(windows.boundaries("HOUR", "UTC", start, start + timedelta(hours=24), most=24)) == 25
        with pytest.raises(ValueError):
            windows.boundaries("HOUR", "UTC", start, start + timedelta(hours=24, minutes=1), most=24)
