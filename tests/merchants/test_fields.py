from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from merchants import fields
from merchants.errors import ValidationFailed


def refuses(check, value, field="thing", **limits):
    with pytest.raises(ValidationFailed) as refusal:
        check(value, field, **limits)
    assert refusal.value.status == 400
    assert refusal.value.errors[0]["field"].startswith(field)
    return refusal.value


class TestQuantity:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            (1, "1"),
            ("1", "1"),
            ("007", "7"),
            ("0.000000001", "0.000000001"),
            (Decimal("0.1"), "0.1"),
            (Decimal("1.0"), "1.0"),
            (Decimal("0.000000001"), "0.000000001"),
            (99_999_999_999_999, "99999999999999"),
            ("99999999999999.999999999", "99999999999999.999999999"),
            (Decimal("99999999999999.999999999"), "99999999999999.999999999"),
        ],
    )
    def test_takes_plain_numbers_and_strings_exactly(self, value, expected):
        assert str(fields.quantity(value, "quantity").normalize()) == str(Decimal(expected).normalize())

    @pytest.mark.parametrize(
        "value",
        [
            *[None, True, False, [], {}, [1], 1.5, "", " ", "NaN", "Infinity", "1e400", "0x10", "1_000", "١٢٣"],
            *[" 5 ", "5\n"],
            *["+5", "-5", "-0", ".5", "1.", "1e5", "0.0000000001", "123456789012345", "1" * 1001, "1.0000000000"],
            *[-1, 10**14, 2**63, 10**4000, Decimal("NaN"), Decimal("Infinity"), Decimal("-1"), Decimal("-0.0")],
            *[Decimal("1E+400000000"), Decimal("0.0000000001"), Decimal("100000000000000")],
        ],
    )
    def test_refuses_everything_else(self, value):
        assert refuses(fields.quantity, value).code == "INVALID_QUANTITY"

    @pytest.mark.parametrize("value", [0, "0", "0.000", Decimal("0.0")])
    def test_takes_zero_only_where_zero_is_allowed(self, value):
        refuses(fields.quantity, value)
        assert fields.quantity(value, "quantity", zero=True) == 0

    @given(st.decimals(min_value=0, max_value=10**15, allow_nan=False, allow_infinity=False, places=None))
    def test_answers_alike_for_a_number_and_the_string_of_it(self, value):
        def outcome(given_value):
            try:
                return fields.quantity(given_value, "quantity", zero=True)
            except ValidationFailed:
                return None

        if abs(value.as_tuple().exponent) < 50:
            assert outcome(value) == outcome(format(value, "f"))


class TestAmount:
    @pytest.mark.parametrize("value", ["0", "0.0025", "12.50", "999999999999.999999999"])
    def test_takes_decimal_strings(self, value):
        assert fields.amount(value, "amount") == Decimal(value)

    @pytest.mark.parametrize(
        "value",
        [1, 1.5, Decimal(1), None, "", "-1", "+1", "1.", ".1", "1e2", "1,5", "٣", "1.0000000001", "1" * 13, "1\n"],
    )
    def test_refuses_everything_else(self, value):
        assert refuses(fields.amount, value).code == "INVALID_AMOUNT"


class TestInteger:
    @pytest.mark.parametrize("value", [1, 7, 1000])
    def test_takes_whole_numbers_within_the_bounds(self, value):
        assert fields.integer(value, "maxUses", least=1, most=1000) == value

    @pytest.mark.parametrize("value", [0, 1001, True, None, "7", 7.0, Decimal("7"), 2**63])
    def test_refuses_everything_else(self, value):
        refuses(fields.integer, value, least=1, most=1000)


class TestTimestamp:
    @pytest.mark.parametrize(
        ("value", "expected"),
        [
            ("2026-01-01T00:00:00Z", datetime(2026, 1, 1, tzinfo=UTC)),
            ("2026-01-01T00:00:00.5Z", datetime(2026, 1, 1, 0, 0, 0, 500_000, tzinfo=UTC)),
            ("2026-01-01T00:00:00.123456789Z", datetime(2026, 1, 1, 0, 0, 0, 123_456, tzinfo=UTC)),
            ("2026-01-01T00:00:00+02:00", datetime(2025, 12, 31, 22, tzinfo=UTC)),
            ("2026-01-01T00:00:00-23:59", datetime(2026, 1, 1, 23, 59, tzinfo=UTC)),
            ("2026-01-01T00:00:00-00:00", datetime(2026, 1, 1, tzinfo=UTC)),
            ("2028-02-29T12:00:00Z", datetime(2028, 2, 29, 12, tzinfo=UTC)),
            ("2000-01-01T00:00:00Z", datetime(2000, 1, 1, tzinfo=UTC)),
            ("2100-12-31T23:59:59Z", datetime(2100, 12, 31, 23, 59, 59, tzinfo=UTC)),
        ],
    )
    def test_takes_rfc_3339_with_an_offset_as_utc(self, value, expected):
        instant = fields.timestamp(value, "timestamp")
        assert instant == expected
        assert instant.tzinfo is UTC

    @pytest.mark.parametrize(
        "value",
        [
            *[None, True, 1767225600, "", "now", "2026-01-01", "2026-01-01T00:00:00", "2026-W01-1"],
            *["2026-W01-1T00:00:00Z"],
            *["20260101T000000Z", "2026-01-01 00:00:00Z", "2026-01-01t00:00:00z", "2026-001T00:00:00Z"],
            *["2026-02-30T00:00:00Z", "2026-01-01T24:00:00Z", "2026-01-01T00:60:00Z", "2026-01-01T00:00:60Z"],
            *["2026-01-01T00:00:00+99:99", "2026-01-01T00:00:00+24:00", "2026-01-01T00:00:00+0200"],
            *["2026-01-01T00:00:00+02", "2026-01-01T00:00:00.Z", "2026-01-01T00:00:00,5Z", "2026-01-01T00:00Z"],
            *["2026-01-01T00:00:00.1234567891Z", "٢٠٢٦-01-01T00:00:00Z", "2026-01-01T00:00:00Z\n"],
            *[" 2026-01-01T00:00:00Z"],
            *["1969-12-31T23:59:59Z", "1999-12-31T23:59:59Z", "2101-01-01T00:00:00Z", "2999-01-01T00:00:00Z"],
            *["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "2000-01-01T00:00:00+00:01"],
        ],
    )
    def test_refuses_everything_else(self, value):
        assert refuses(fields.timestamp, value).code == "INVALID_TIMESTAMP"

    @given(st.datetimes(datetime(2000, 1, 2), datetime(2100, 12, 30), timezones=st.timezones()))
    def test_reads_back_what_isoformat_writes(self, instant):
        if instant.utcoffset().total_seconds() % 60 == 0:
            # In UTC: a local time that a clock shows twice equals nothing in another zone.
            assert fields.timestamp(instant.isoformat(), "timestamp") == instant.astimezone(UTC)


class TestIdempotencyKey:
    @pytest.mark.parametrize("value", ["a", "!~", "k" * 255, "550e8400-e29b-41d4-a716-446655440000"])
    def test_takes_visible_ascii(self, value):
        assert fields.idempotency_key(value) == value

    @pytest.mark.parametrize("value", [None, 1, "", "k" * 256, "a b", " a", "a\n", "a\x00", "\x7f", "é", "🙂"])
    def test_refuses_everything_else(self, value):
        refuses(fields.idempotency_key, value, "idempotencyKey")


class TestMetadata:
    @pytest.mark.parametrize(
        "value", [{}, {"a": ""}, {"k" * 40: "v" * 500}, {"é": "🙂" * 500}, {str(n): "v" for n in range(50)}]
    )
    def test_takes_a_flat_object_of_strings(self, value):
        assert fields.metadata(value) == value

    @pytest.mark.parametrize(
        "value",
        [
            *[None, [], "a", 1, {"": "v"}, {"k" * 41: "v"}, {"k": "v" * 501}, {"k": 1}, {"k": None}, {"k": {"a": "b"}}],
            *[{"k": ["v"]}, {str(n): "v" for n in range(51)}, {"k\x00": "v"}, {"k": "v\x00"}, {"k": "a\r\nX: y"}],
            *[{"k": "\ud800"}, {"k" * 100_000: "v"}, {"k": True}],
        ],
    )
    def test_refuses_everything_else(self, value):
        refuses(fields.metadata, value, "metadata")

    def test_names_the_key_whose_value_is_at_fault(self):
        assert refuses(fields.metadata, {"fine": "v", "team": 7}, "metadata").errors[0]["field"] == "metadata.team"


class TestText:
    def test_brings_text_to_nfc_without_outer_spaces(self):
        assert fields.text("  Cafe\u0301 ", "name") == "Café"

    def test_counts_code_points(self):
        assert fields.text("🙂" * 64, "name", length_max=64) == "🙂" * 64
        refuses(fields.text, "🙂" * 65, length_max=64)

    def test_takes_an_empty_line_only_where_it_is_allowed(self):
        refuses(fields.text, "   ")
        assert fields.text("", "description", length_min=0) == ""

    @pytest.mark.parametrize(
        "value",
        [
            *[None, 1, [], "a\nb", "a\r\nX: y", "a\n", "a\x00", "\ud800", "a\x7f", "a\x85b", "a\u2028b"],
            *["a\u202eb", "a\u2066b", "\u200b", "\u200b \u2060", "a" * 256],
        ],
    )
    def test_refuses_everything_else(self, value):
        refuses(fields.text, value)

    def test_takes_joiners_and_marks_that_scripts_need(self):
        assert fields.text("می\u200cخواهم 👩\u200d💻", "name") == "می\u200cخواهم 👩\u200d💻"
