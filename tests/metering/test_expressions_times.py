"""Prices by the time of day: timestamps, durations and time zones in expressions."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from metering import expressions
from metering.expressions import DURATION, TIMESTAMP, EvaluationError, ExpressionError

# A Sunday evening in UTC; Monday morning in Tokyo.
EVENT = {
    "timestamp": datetime(2026, 3, 1, 22, 30, 15, 250_999, tzinfo=UTC),
    "span": timedelta(hours=26, minutes=3, seconds=4, milliseconds=5),
    "metadata": {"zone": "Asia/Tokyo", "nowhere": "Europe/Nowhere"},
}
VARIABLES = {**expressions.EVENT, "span": DURATION, "other": TIMESTAMP}


def number(source, **bindings):
    return expressions.compile(source, result="number", variables=VARIABLES)({**EVENT, **bindings})


def holds(source, **bindings):
    return expressions.compile(source, result="bool", variables=VARIABLES)({**EVENT, **bindings})


class TestParts:
    @pytest.mark.parametrize(
        ("part", "utc", "tokyo"),
        [
            ("getFullYear", 2026, 2026),
            ("getMonth", 2, 2),
            ("getDate", 1, 2),
            ("getDayOfMonth", 0, 1),
            ("getDayOfWeek", 0, 1),
            ("getDayOfYear", 59, 60),
            ("getHours", 22, 7),
            ("getMinutes", 30, 30),
            ("getSeconds", 15, 15),
            ("getMilliseconds", 250, 250),
        ],
    )
    def test_are_those_of_a_time_zone(self, part, utc, tokyo):
        assert number(f"timestamp.{part}()") == utc
        assert number(f"timestamp.{part}('UTC')") == utc
        assert number(f"timestamp.{part}('Asia/Tokyo')") == tokyo
        assert number(f"timestamp.{part}(metadata.zone)") == tokyo
        assert number(f"timestamp.{part}('+09:00')") == tokyo

    def test_follow_summer_time(self):
        source = "timestamp.getHours('Europe/Berlin')"
        assert number(source, timestamp=datetime(2026, 3, 29, 0, 59, tzinfo=UTC)) == 1
        assert number(source, timestamp=datetime(2026, 3, 29, 1, 0, tzinfo=UTC)) == 3

    @pytest.mark.parametrize(("zone", "minutes"), [("-03:30", 0), ("05:45", 15), ("Asia/Kathmandu", 15)])
    def test_know_odd_offsets(self, zone, minutes):
        assert number(f"timestamp.getMinutes('{zone}')") == minutes

    @pytest.mark.parametrize(
        "zone",
        [
            "Europe/Nowhere",
            "Europe",
            "",
            "../UTC",
            "/etc/localtime",
            "localtime",
            "posixrules",
            "+24:00",
            "+1:00",
            "zone.tab",
        ],
    )
    def test_refuse_a_zone_that_does_not_exist(self, zone):
        with pytest.raises(ExpressionError, match="there is no time zone"):
            number(f"timestamp.getHours('{zone}')")
        with pytest.raises(EvaluationError, match="there is no time zone"):
            number("timestamp.getHours(metadata.zone)", metadata={"zone": zone})

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("span.getHours()", 26),
            ("span.getMinutes()", 1563),
            ("span.getSeconds()", 93784),
            ("span.getMilliseconds()", 5),
            ("duration('-90m').getHours()", -1),
            ("duration('-1500ms').getSeconds()", -1),
            ("duration('-1500ms').getMilliseconds()", -500),
        ],
    )
    def test_of_a_duration_are_all_of_it_towards_zero(self, source, expected):
        assert number(source) == expected

    @pytest.mark.parametrize(
        "source", ["span.getHours('UTC')", "span.getDate()", "metadata.zone.getHours()", "getHours(span)"]
    )
    def test_are_parts_of_what_has_them(self, source):
        with pytest.raises(ExpressionError):
            number(source)


class TestTimestamps:
    @pytest.mark.parametrize(
        "text",
        [
            "2026-03-01T22:30:15.250999Z",
            "2026-03-01t22:30:15.250999z",
            "2026-03-01T23:30:15.250999+01:00",
            "2026-03-01T17:00:15.250999999-05:30",
        ],
    )
    def test_are_instants(self, text):
        assert holds(f"timestamp == timestamp('{text}')")

    @pytest.mark.parametrize(
        "text",
        [
            "2026-02-30T00:00:00Z",
            "2026-03-01",
            "2026-03-01T22:30:15",
            "2026-03-01 22:30:15Z",
            "2026-03-01T22:30:60Z",
            "x",
            "",
        ],
    )
    def test_are_refused_where_they_are_none(self, text):
        with pytest.raises(ExpressionError, match="is not a timestamp"):
            holds(f"timestamp == timestamp('{text}')")

    def test_are_one_whatever_zone_they_are_given_in(self):
        there = EVENT["timestamp"].astimezone(timezone(timedelta(hours=9)))
        assert holds("timestamp == other && timestamp.getHours() == 22", timestamp=there, other=EVENT["timestamp"])

    @pytest.mark.parametrize(
        ("source", "expected"),
        [
            ("timestamp(0) == timestamp('1970-01-01T00:00:00Z')", True),
            ("timestamp(int(timestamp)) <= timestamp", True),
            ("timestamp - timestamp('2026-03-01T22:00:00Z') > duration('30m')", True),
            ("timestamp + duration('1h') - timestamp == duration('3600s')", True),
            ("duration('1h') + timestamp > timestamp", True),
            ("timestamp - duration('1h') < timestamp", True),
            ("duration('1h') + duration('1m') - duration('1s') == duration('3659s')", True),
        ],
    )
    def test_are_reckoned_with(self, source, expected):
        assert holds(source) is expected

    @pytest.mark.parametrize(
        "source",
        [
            "timestamp + duration('999999999h') + duration('999999999h') > timestamp",
            "timestamp(int(timestamp) * 1000000) > timestamp",
            "span + duration('23999999999h') + duration('23999999999h') > span",
        ],
    )
    def test_end_where_the_calendar_does(self, source):
        with pytest.raises(EvaluationError, match="the time is out of range"):
            holds(source)

    def test_near_the_ends_of_the_calendar_have_no_local_time(self):
        with pytest.raises(EvaluationError, match="the time is out of range"):
            number("timestamp.getHours('+01:00')", timestamp=datetime(9999, 12, 31, 23, 30, tzinfo=UTC))

    @pytest.mark.parametrize(
        "source", ["timestamp + timestamp", "span - timestamp", "timestamp * 2", "-span", "timestamp + 5"]
    )
    def test_are_not_added_to_what_they_cannot_be(self, source):
        with pytest.raises(ExpressionError, match="does not work on"):
            holds(f"{source} == {source}")


class TestDurations:
    @pytest.mark.parametrize(
        ("text", "seconds"),
        [
            ("90s", "90"),
            ("1h30m", "5400"),
            ("1.5h", "5400"),
            ("-1.5s", "-1.5"),
            ("+2m", "120"),
            ("250ms", "0.25"),
            ("1us", "0.000001"),
            ("1µs", "0.000001"),
            ("1999ns", "0.000001"),
            ("0", "0"),
        ],
    )
    def test_are_read(self, text, seconds):
        assert holds(f"string(duration('{text}')) == '{seconds}s'")

    @pytest.mark.parametrize(
        "text", ["", "90", "1d", "h", "1.s", "1h 30m", "1h" * 9, "1e3s", "9" * 16 + "s", "999999999999999h"]
    )
    def test_are_refused_where_they_are_none(self, text):
        with pytest.raises(ExpressionError):
            holds(f"duration('{text}') == duration('0')")
