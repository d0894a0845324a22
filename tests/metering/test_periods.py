from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from metering import periods
from metering.periods import Cadence, Period

MONTHLY = Cadence(1, 0)
DAILY = Cadence(0, 1)
# Northern and southern summer time, half hours, a midnight that does not exist, a whole day skipped, none at all.
ZONES = [
    "UTC",
    "America/New_York",
    "Europe/Berlin",
    "Australia/Lord_Howe",
    "America/Sao_Paulo",
    "Africa/Cairo",
    "Pacific/Apia",
    "Pacific/Chatham",
    "Asia/Kathmandu",
    "Antarctica/Troll",
]
CADENCES = [Cadence(m, 0) for m in (1, 2, 3, 6, 12, 24)] + [Cadence(0, d) for d in (1, 7, 14, 30)]
instants = st.datetimes(datetime(2000, 1, 1), datetime(2100, 12, 31), timezones=st.just(UTC))
ends_of_months = st.builds(
    lambda year, month, back, time: datetime(year, month, 1, tzinfo=UTC) - timedelta(days=back) + time,
    st.integers(2000, 2100),
    st.integers(1, 12),
    st.integers(-1, 3),
    st.timedeltas(timedelta(0), timedelta(days=1)),
)
anchors = instants | ends_of_months
# An hour or so around a change of clocks, where local time jumps or repeats.
around_changes = st.builds(
    lambda change, minutes: datetime.fromisoformat(change) + timedelta(minutes=minutes),
    st.sampled_from(
        [
            *["2026-03-08T07:00Z", "2026-11-01T06:00Z", "2026-03-29T01:00Z", "2026-10-25T01:00Z"],
            *["2011-12-30T10:00Z", "2018-11-04T03:00Z", "2026-04-04T15:00Z", "2026-10-03T15:30Z"],
        ]
    ),
    st.integers(-180, 180),
)


def utc(text):
    return datetime.fromisoformat(text).astimezone(UTC)


def starts(anchor, cadence, zone, count):
    """The local wall-clock starts of the first periods, as text."""
    span = periods.iterate(utc(anchor), cadence, zone, utc(anchor), utc(anchor) + timedelta(days=20 * 366))
    return [period.start.astimezone(ZoneInfo(zone)).strftime("%Y-%m-%d %H:%M") for period in islice(span, count)]


class TestParseCadence:
    @pytest.mark.parametrize(
        ("duration", "months", "days"),
        [("P1M", 1, 0), ("P3M", 3, 0), ("P1Y", 12, 0), ("P1W", 0, 7), ("P1D", 0, 1), ("P14D", 0, 14), ("P0D", 0, 0)],
    )
    def test_reads_one_unit(self, duration, months, days):
        assert periods.parse_cadence(duration) == (months, days)
        assert periods.parse_cadence(duration).is_once == (duration == "P0D")

    @pytest.mark.parametrize(
        "duration",
        [
            *["", "P", "P1", "1M", "p1m", "P1M1D", "PT1H", "P1.5M", "P-1M", "-P1M", "P1M ", "P1M\n", "P١M"],
            *["P0M", "P00D"],
            *["P11Y", "P121M", "P3661D", "P99999D", "P1H"],
        ],
    )
    def test_refuses_everything_else(self, duration):
        with pytest.raises(ValueError):
            periods.parse_cadence(duration)


class TestPeriodOf:
    def test_is_half_open(self):
        anchor = utc("2026-01-15T10:00Z")
        first = Period(anchor, utc("2026-02-15T10:00Z"))
        assert periods.period_of(anchor, MONTHLY, "UTC", anchor) == first
        assert periods.period_of(anchor, MONTHLY, "UTC", first.end - timedelta(microseconds=1)) == first
        assert periods.period_of(anchor, MONTHLY, "UTC", first.end).start == first.end

    def test_reaches_before_the_anchor(self):
        anchor = utc("2026-01-15T10:00Z")
        earlier = periods.period_of(anchor, MONTHLY, "UTC", utc("2024-12-31T00:00Z"))
        assert earlier == (utc("2024-12-15T10:00Z"), utc("2025-01-15T10:00Z"))

    def test_clips_the_31st_without_drifting_back(self):
        assert starts("2027-12-31T12:00Z", MONTHLY, "UTC", 5) == [
            "2027-12-31 12:00",
            "2028-01-31 12:00",
            "2028-02-29 12:00",
            "2028-03-31 12:00",
            "2028-04-30 12:00",
        ]

    def test_keeps_a_leap_day_for_the_years_that_have_one(self):
        assert starts("2028-02-29T00:00Z", Cadence(12, 0), "UTC", 5) == [
            "2028-02-29 00:00",
            "2029-02-28 00:00",
            "2030-02-28 00:00",
            "2031-02-28 00:00",
            "2032-02-29 00:00",
        ]

    def test_takes_2100_for_the_common_year_it_is(self):
        period = periods.period_of(utc("2096-02-29T00:00Z"), Cadence(12, 0), "UTC", utc("2100-06-01T00:00Z"))
        assert period.start == utc("2100-02-28T00:00Z")

    def test_keeps_the_wall_clock_through_summer_time(self):
        anchor = utc("2026-03-01T00:00-05:00")
        period = periods.period_of(anchor, MONTHLY, "America/New_York", utc("2026-03-20T00:00Z"))
        assert period == (utc("2026-03-01T05:00Z"), utc("2026-04-01T04:00Z"))

    def test_takes_the_day_of_the_month_in_the_merchants_zone(self):
        anchor = utc("2026-02-01T02:00Z")  # still 31 January in New York
        period = periods.period_of(anchor, MONTHLY, "America/New_York", utc("2026-03-15T00:00Z"))
        assert period == (utc("2026-02-28T21:00-05:00"), utc("2026-03-31T21:00-04:00"))

    def test_moves_a_skipped_time_forward_by_the_gap(self):
        assert starts("2026-02-08T02:30-05:00", MONTHLY, "America/New_York", 3) == [
            "2026-02-08 02:30",
            "2026-03-08 03:30",
            "2026-04-08 02:30",
        ]

    def test_takes_the_first_of_a_repeated_time(self):
        anchor = utc("2026-10-01T01:30-04:00")
        for cadence in (MONTHLY, DAILY):
            between = periods.period_of(anchor, cadence, "America/New_York", utc("2026-11-01T01:10-05:00"))
            assert between.start == utc("2026-11-01T01:30-04:00")

    def test_starts_at_the_anchor_also_at_the_second_of_a_repeated_time(self):
        anchor = utc("2026-11-01T01:30-05:00")
        first = periods.period_of(anchor, DAILY, "America/New_York", anchor)
        assert first == (anchor, utc("2026-11-02T01:30-05:00"))
        to_the_next_repeated_time = periods.period_of(anchor, Cadence(0, 371), "America/New_York", anchor)
        assert to_the_next_repeated_time.end == utc("2027-11-07T01:30-04:00")

    def test_has_no_period_for_a_day_that_never_was(self):
        days = starts("2011-12-28T10:00-10:00", DAILY, "Pacific/Apia", 4)
        assert days == ["2011-12-28 10:00", "2011-12-29 10:00", "2011-12-31 10:00", "2012-01-01 10:00"]

    def test_has_none_for_what_happens_once(self):
        anchor = utc("2026-01-01T00:00Z")
        with pytest.raises(ValueError):
            periods.period_of(anchor, Cadence(0, 0), "UTC", anchor)

    @settings(deadline=None, max_examples=500)
    @given(anchors | around_changes, st.sampled_from(CADENCES), st.sampled_from(ZONES), anchors | around_changes)
    @example(utc("2011-12-01T10:00Z"), DAILY, "Pacific/Apia", utc("2011-12-30T09:59Z"))
    def test_contains_the_instant_and_nothing_of_its_neighbours(self, anchor, cadence, zone, at):
        period = periods.period_of(anchor, cadence, zone, at)
        assert period.start <= at < period.end
        assert period.start.tzinfo is UTC
        assert period.end.tzinfo is UTC
        assert periods.period_of(anchor, cadence, zone, period.start) == period
        assert periods.period_of(anchor, cadence, zone, period.end - timedelta(microseconds=1)) == period
        assert periods.period_of(anchor, cadence, zone, period.start - timedelta(microseconds=1)).end == period.start

    @settings(deadline=None)
    @given(anchors | around_changes, st.sampled_from(CADENCES), st.sampled_from(ZONES))
    def test_begins_a_period_at_the_anchor(self, anchor, cadence, zone):
        assert periods.period_of(anchor, cadence, zone, anchor).start == anchor

    @settings(deadline=None)
    @given(anchors, st.sampled_from(CADENCES), st.sampled_from(ZONES), anchors)
    def test_keeps_the_wall_clock_of_the_anchor(self, anchor, cadence, zone, at):
        start = periods.period_of(anchor, cadence, zone, at).start.astimezone(ZoneInfo(zone))
        local = anchor.astimezone(ZoneInfo(zone))
        skipped = start.time() != local.time()
        if skipped:  # then the local time of the anchor did not exist on that day
            wished = start.replace(hour=local.hour, minute=local.minute, fold=0)
            there_and_back = wished.astimezone(UTC).astimezone(ZoneInfo(zone))
            assert there_and_back.replace(tzinfo=None) != wished.replace(tzinfo=None) or zone == "Pacific/Apia"
        elif cadence.months:
            in_this_month = start.day == local.day
            last_of_the_month = (start.replace(tzinfo=None) + timedelta(days=1)).month != start.month
            assert in_this_month or (start.day < local.day and last_of_the_month)


class TestNextPeriod:
    @settings(deadline=None, max_examples=200)
    @given(anchors | around_changes, st.sampled_from(CADENCES), st.sampled_from(ZONES), anchors | around_changes)
    def test_follows_without_gap_or_overlap(self, anchor, cadence, zone, at):
        period = periods.period_of(anchor, cadence, zone, at)
        for _ in range(15):
            following = periods.next_period(anchor, cadence, zone, period)
            assert following.start == period.end < following.end
            period = following


class TestIterate:
    def test_tiles_a_span(self):
        anchor = utc("2026-01-31T00:00Z")
        tiles = list(
            periods.iterate(anchor, MONTHLY, "Europe/Berlin", utc("2026-01-01T00:00Z"), utc("2027-01-01T00:00Z"))
        )
        assert tiles[0].start <= utc("2026-01-01T00:00Z") < tiles[0].end
        assert tiles[-1].start < utc("2027-01-01T00:00Z") <= tiles[-1].end
        assert all(one.end == other.start for one, other in pairwise(tiles))
        assert len(tiles) == 13

    def test_yields_nothing_for_an_empty_span(self):
        anchor = utc("2026-01-31T00:00Z")
        assert list(periods.iterate(anchor, MONTHLY, "UTC", anchor, anchor)) == []


class TestWindowOf:
    """The spans that spending limits are counted in."""

    def days(self, zone, first, count):
        at, found = utc(first), []
        for _ in range(count):
            day = periods.window_of("day", zone, at)
            found.append((day.end - day.start) / timedelta(hours=1))
            at = day.end
        return found

    @pytest.mark.parametrize(
        ("zone", "at", "start", "end"),
        [
            ("Europe/Berlin", "2026-03-28T22:59:59Z", "2026-03-27T23:00Z", "2026-03-28T23:00Z"),
            ("Europe/Berlin", "2026-03-28T23:00:00Z", "2026-03-28T23:00Z", "2026-03-29T22:00Z"),
            ("America/New_York", "2026-11-01T04:00:00Z", "2026-11-01T04:00Z", "2026-11-02T05:00Z"),
            ("America/Sao_Paulo", "2018-11-04T12:00:00Z", "2018-11-04T03:00Z", "2018-11-05T02:00Z"),  # from 1:00 on
        ],
    )
    def test_days_begin_at_midnight_by_the_clocks(self, zone, at, start, end):
        assert periods.window_of("day", zone, utc(at)) == Period(utc(start), utc(end))

    def test_days_are_as_long_as_the_clocks_make_them(self):
        assert self.days("Europe/Berlin", "2026-03-28T12:00Z", 3) == [24, 23, 24]
        assert self.days("Europe/Berlin", "2026-10-24T12:00Z", 3) == [24, 25, 24]
        assert self.days("Australia/Lord_Howe", "2026-04-04T00:00Z", 3) == [24, 24.5, 24]

    def test_months_are_those_of_the_calendar(self):
        month = periods.window_of("month", "Europe/Berlin", utc("2026-03-31T21:59Z"))
        assert month == Period(utc("2026-02-28T23:00Z"), utc("2026-03-31T22:00Z"))
        assert periods.window_of("month", "Europe/Berlin", month.end).start == month.end

    @pytest.mark.parametrize("change", ["2026-10-25T01:00Z", "2026-03-29T01:00Z"])
    def test_hours_have_sixty_minutes_also_where_the_clocks_show_one_twice_or_never(self, change):
        at = utc(change) - timedelta(hours=1)
        for _ in range(3):
            hour = periods.window_of("hour", "Europe/Berlin", at)
            assert hour == Period(at, at + timedelta(hours=1))
            at = hour.end

    def test_hours_begin_with_the_zones_own_minute(self):
        hour = periods.window_of("hour", "Asia/Kathmandu", utc("2026-11-15T12:00Z"))
        assert hour == Period(utc("2026-11-15T11:15Z"), utc("2026-11-15T12:15Z"))

    def test_total_is_all_of_time(self):
        assert periods.window_of("total", "Asia/Kathmandu", utc("2026-11-15T12:00Z")) == periods.EVER

    @settings(max_examples=100, deadline=None)
    @given(instants | around_changes, st.sampled_from(ZONES), st.sampled_from(["hour", "day", "month"]))
    def test_tile_time(self, at, zone, window):
        here = periods.window_of(window, zone, at)
        assert here.start <= at < here.end
        assert periods.window_of(window, zone, here.end).start == here.end
        assert periods.window_of(window, zone, here.end - timedelta(microseconds=1)) == here
