"""The time spans a report looks at."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ui import spans

NOW = datetime(2026, 11, 21, 11, 37, tzinfo=UTC)
ZONES = ["UTC", "Europe/Berlin", "America/New_York", "Asia/Kolkata", "Pacific/Apia", "Australia/Lord_Howe"]


class TestSpan:
    @given(
        st.sampled_from(list(spans.RANGES)),
        st.sampled_from(ZONES),
        st.datetimes(min_value=datetime(2020, 1, 1), max_value=datetime(2035, 1, 1), timezones=st.just(UTC)),
    )
    def test_tiles_time_up_to_now(self, key: str, zone: str, now: datetime) -> None:
        span = spans.span(key, now=now, zone=ZoneInfo(zone))
        starts = [*span.earlier, *span.starts]
        assert len(span.starts) == len(span.earlier) == span.range.count == len(span.labels)
        assert starts == sorted(set(starts))
        assert starts[-1] <= now
        assert now - starts[-1] < timedelta(hours=26)
        assert all(timedelta(minutes=59) < later - start < timedelta(hours=26) for start, later in pairwise(starts))

    def test_begins_days_at_local_midnight_also_when_clocks_change(self) -> None:
        span = spans.span("30d", now=NOW, zone=ZoneInfo("Europe/Berlin"))
        local = [start.astimezone(ZoneInfo("Europe/Berlin")) for start in span.starts]
        assert {(at.hour, at.minute) for at in local} == {(0, 0)}

    def test_compares_with_the_same_part_of_the_time_before(self) -> None:
        span = spans.span("7d", now=NOW, zone=ZoneInfo("UTC"))
        assert span.earlier_end == NOW - timedelta(days=7)

    @pytest.mark.parametrize("key", ["", "1000d", "30D"])
    def test_is_the_default_one_for_an_unknown_choice(self, key: str) -> None:
        assert spans.span(key, now=NOW, zone=ZoneInfo("UTC")).range.key == spans.DEFAULT

    def test_says_what_it_covers(self) -> None:
        assert spans.span("30d", now=NOW, zone=ZoneInfo("UTC")).title == "23 Oct – 21 Nov"
        assert spans.span("24h", now=NOW, zone=ZoneInfo("UTC")).title == "20 Nov, 12:00 – 21 Nov, 11:37"
