"""Input that no honest client sends, at both doors of a served Farthing: each gets its 4xx, and changes nothing.

One row of the catalogue of bad input is one test; the doors are the fast lane and the control plane.
"""

import http.client
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import httpx
import pytest

from billing.models import Coupon, Payment, PaymentLink, Plan, Redemption, TopUp
from entitlements.models import Budget, Reservation
from merchants.models import Product
from metering.models import BillableMetric, UsageEvent
from tests import callers
from tests.callers import Caller
from tests.tenants import buyer

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

HOLE = "@@hole@@"


# --- the doors -------------------------------------------------------------------------------------------


@dataclass
class Shop:
    """A merchant with one of everything that a request needs."""

    url: str
    seller: Caller
    ids: dict[str, str]

    def post(self, path: str, body: bytes | Iterator[bytes], **headers: str | None) -> httpx.Response:
        """Send bytes as they are."""
        named: dict[str, str | None] = {"Authorization": f"Bearer {self.seller.secret}"}
        named |= {"Content-Type": "application/json"} | {
            name.replace("_", "-"): value for name, value in headers.items()
        }
        sent = {name: value for name, value in named.items() if value is not None}
        return client().post(f"{self.url}{path}", content=body, headers=sent)

    def post_with(self, path: str, body: dict[str, Any], raw: str, **headers: str | None) -> httpx.Response:
        """Send JSON with a piece of raw text where the body has its hole."""
        return self.post(path, json.dumps(body).replace(f'"{HOLE}"', raw).encode("utf-8", "surrogatepass"), **headers)

    def usage(self, **members: Any) -> dict[str, Any]:
        """A sound usage event."""
        return {
            "merchantId": self.ids["merchant"],
            "customerId": self.ids["customer"],
            "idempotencyKey": uuid4().hex,
            "timestamp": datetime.now(UTC).isoformat(),
            "properties": [{"billableMetricId": self.ids["metric"], "quantity": 1}],
            **members,
        }

    def event(self, **members: Any) -> dict[str, Any]:
        """A sound meter event."""
        said = {"type": "completion", "source": "a", "subject": self.ids["customer"], "data": {"n": 1}}
        return {**said, "idempotencyKey": uuid4().hex, **members}

    def quantity(self, value: Any) -> dict[str, Any]:
        """A usage event of this quantity."""
        return self.usage(properties=[{"billableMetricId": self.ids["metric"], "quantity": value}])

    def reservation(self, **members: Any) -> dict[str, Any]:
        """A sound reservation."""
        return {
            "merchantId": self.ids["merchant"],
            "customerId": self.ids["customer"],
            "entitlementData": [{"billableMetricId": self.ids["metric"], "quantity": 1}],
            **members,
        }

    def product(self, **members: Any) -> dict[str, Any]:
        """A sound product."""
        return {"merchantId": self.ids["merchant"], "name": "A", "description": "B", **members}

    def metric(self, **members: Any) -> dict[str, Any]:
        """A sound metric."""
        return {**self.product(), "productId": self.ids["product"], "unit": "a", "aggregation": "SUM", **members}

    def plan(self, **members: Any) -> dict[str, Any]:
        """A sound plan."""
        named = {"merchantId": self.ids["merchant"], "productId": self.ids["product"]}
        return {**named, "name": "A", "currency": "USD", **members}

    def budget(self, **members: Any) -> dict[str, Any]:
        """A sound budget."""
        limits = {"limit": "5", "currency": "USD", "window": "day"}
        return {"customerId": self.ids["customer"], "name": "A", **limits, **members}

    def coupon(self, **members: Any) -> dict[str, Any]:
        """A sound coupon."""
        return {"merchantId": self.ids["merchant"], "code": uuid4().hex, "name": "A", "duration": "once", **members}

    def payment_link(self, **members: Any) -> dict[str, Any]:
        """A sound payment link."""
        return {"amount": "5.00", "currency": "USD", "description": "A", **members}

    @property
    def top_ups(self) -> str:
        """Where money is added."""
        return f"/v0/wallets/{self.ids['wallet']}/topups"

    def alert(self, **members: Any) -> dict[str, Any]:
        """A sound alert."""
        return {"type": "wallet_low_balance", "resourceId": self.ids["wallet"], "config": {"threshold": "1"}, **members}

    @property
    def credits(self) -> str:
        """Where credit is given."""
        return f"/v0/wallets/{self.ids['wallet']}/credits"


@cache
def client() -> httpx.Client:
    return httpx.Client(timeout=40)


@pytest.fixture
def shop(served_url: str) -> Shop:
    seller = callers.caller()
    product_id = callers.product(seller)["id"]
    metric_id = callers.metric(seller, product_id, eventType="completion", valueProperty="$.n")["id"]
    price = callers.price(
        seller, metric_id=metric_id, paymentTerm="in_arrears", properties={"unitPrice": "999999999999.999999999"}
    )
    plan_id = callers.plan(seller, [price["id"]])["id"]
    named = {"merchant": seller.merchant_id, "product": product_id, "metric": metric_id, "plan": plan_id}
    return Shop(served_url, seller, named | buyer(seller, plan_id))


def effects() -> dict[str, int]:
    """How much of everything there is."""
    return {
        model.__name__: model.objects.count()
        for model in (
            UsageEvent,
            Reservation,
            Budget,
            TopUp,
            Product,
            Plan,
            BillableMetric,
            Coupon,
            Redemption,
            Payment,
            PaymentLink,
        )
    }


@pytest.fixture(autouse=True)
def _nothing_changes(request: pytest.FixtureRequest, shop: Shop) -> Iterator[None]:
    before = effects()
    yield
    if not request.node.get_closest_marker("changes"):
        assert effects() == before


def check(answer: httpx.Response, status: int | tuple[int, ...], field: str | None = None) -> None:
    """The answer is a refusal in the one shape, with this status, and names this field."""
    allowed = status if isinstance(status, tuple) else (status,)
    shown = f"{answer.status_code} {answer.text[:300]}"
    assert answer.status_code in allowed, shown
    assert answer.headers["Content-Type"] == "application/json", shown
    body = answer.json()
    assert {"error", "message", "code", "requestId"} <= body.keys(), shown
    assert body["requestId"] == answer.headers["X-Request-Id"], shown
    if field is not None and answer.status_code == 400:
        assert field in [error["field"] for error in body["errors"]], shown


def raw(
    shop: Shop,
    method: str,
    path: str,
    body: bytes | None = None,
    headers: Mapping[str, str | bytes] | None = None,
    authorization: Sequence[str] | None = None,
) -> httpx.Response:
    """Send a request as it is written here, and read what is answered, even before all of it was sent."""
    with closing(http.client.HTTPConnection(urlsplit(shop.url).netloc, timeout=40)) as connection:
        connection.putrequest(method, path, skip_accept_encoding=True)
        for value in [f"Bearer {shop.seller.secret}"] if authorization is None else authorization:
            connection.putheader("Authorization", value)
        if body is not None:
            stated = {"Content-Type": "application/json", "Content-Length": str(len(body))}
            for name, given in (headers or stated).items():
                connection.putheader(name, given)
        with suppress(BrokenPipeError, ConnectionResetError):
            connection.endheaders(body)
        answer = connection.getresponse()
        return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read())


# --- numbers: rows 1 to 7, 45 ----------------------------------------------------------------------------

NO_NUMBERS = ["NaN", "Infinity", "-Infinity", "1e400", "0x10", "true", "[]", "{}", '""', "null", '"NaN"', '"0x10"']
NOT_POSITIVE = ["-1", "-0", "0", '"-1"', '"-0"', '"0"', "-0.0", '"0.0"']
LOOSELY_WRITTEN = [
    '"1_000"',
    '"١٢٣"',
    '" 5 "',
    '"+5"',
    '".5"',
    '"1."',
    "1e5",
    '"1e5"',
    "1E2",
    '"5\\n"',
    '"１"',
    '"1,5"',
]
TOO_LONG = [
    '"0.0000000001"',
    "0.0000000001",
    '"' + "9" * 21 + '"',
    "9" * 21,
    "1." + "0" * 1001,
    "9" * 5_000,
    "1e400000000",
    '"' + "0" * 1001 + '"',
    str(2**63),
    str(-(2**63)),
]


class TestNumbers:
    def test_as_a_quantity_are_plain_and_positive(self, subtests, shop):
        for text in [*NO_NUMBERS, *NOT_POSITIVE, *LOOSELY_WRITTEN, *TOO_LONG]:
            with subtests.test(text=str(text)[:24]):
                check(shop.post_with("/v0/usage", shop.quantity(HOLE), text), 400)

    def test_in_an_events_data_are_plain(self, subtests, shop):
        for text in [*NO_NUMBERS, "-1", *LOOSELY_WRITTEN, *TOO_LONG]:
            with subtests.test(text=str(text)[:24]):
                check(shop.post_with("/v0/events", shop.event(data={"n": HOLE}), text), (400, 422))

    def test_as_an_amount_are_plain_positive_strings(self, subtests, shop):
        for text in [*NO_NUMBERS, *NOT_POSITIVE, *LOOSELY_WRITTEN, *TOO_LONG, "5", "0.5"]:
            with subtests.test(text=str(text)[:24]):
                check(shop.post_with(shop.top_ups, {"amount": HOLE}, text), (400, 422))
                check(shop.post_with(shop.credits, {"amount": HOLE}, text), (400, 422))
                check(shop.post_with("/v0/alerts", shop.alert(config={"threshold": HOLE}), text), (400, 422))
                if text not in ('"0"', '"0.0"'):  # a limit of nothing lets nothing through
                    check(shop.post_with("/v0/budgets", shop.budget(limit=HOLE), text), 400)
                    if text != "null":  # lifts it
                        wallet = f"/v0/wallets/{shop.ids['credit']}"
                        check(raw(shop, "PATCH", wallet, b'{"creditLimit": %b}' % str(text).encode()), 400)
                check(shop.post_with("/v0/coupons", shop.coupon(amountOff=HOLE, currency="USD"), text), 400)
                check(shop.post_with("/v0/payments", {"amount": HOLE, "currency": "USD"}, text), 400)
                check(shop.post_with("/v0/paymentLinks", shop.payment_link(amount=HOLE), text), 400)

    def test_as_a_rate_are_plain_and_at_most_a_hundred(self, subtests, shop):
        for text in [*NO_NUMBERS, "-1", '"-1"', *LOOSELY_WRITTEN, *TOO_LONG, "100.1", "1.23456"]:
            with subtests.test(text=str(text)[:24]):
                check(shop.post_with("/v0/plans", shop.plan(defaultTaxRate=HOLE), text), 400)
                check(shop.post_with("/v0/coupons", shop.coupon(percentOff=HOLE), text), 400)

    def test_that_count_are_whole(self, subtests, shop):
        for text in ['"1.0"', '"٣"', '"1_0"', '" 7 "', '"1"', "1.5", "true", "0", "-1", "1e1", "null", "9" * 30]:
            with subtests.test(text=str(text)[:24]):
                check(shop.post_with("/v0/plans", shop.plan(renewalReminderDays=HOLE), text), 400)
                if text != "null":  # leaves the default
                    check(shop.post_with("/v0/paymentLinks", shop.payment_link(maxUses=HOLE), text), 400)
                    check(shop.post_with("/v0/entitlements", shop.reservation(maxUses=HOLE), text), 400)

    @pytest.mark.changes
    def test_keep_every_digit(self, shop):
        plan = shop.post_with("/v0/plans", shop.plan(defaultTaxRate=HOLE), "8.1")
        event = shop.post_with("/v0/usage", shop.quantity(HOLE), "0.123456789")

        assert b'"defaultTaxRate":8.1' in plan.content
        assert b'"quantity":0.123456789' in event.content

    def test_that_are_too_large_together_are_refused_before_they_overflow(self, shop):
        check(shop.post_with("/v0/usage", shop.quantity(HOLE), "9" * 14), 422)
        huge = [{"billableMetricId": shop.ids["metric"], "quantity": HOLE}]
        check(shop.post_with("/v0/entitlements", shop.reservation(entitlementData=huge), "9" * 14), 422)


# --- time: rows 8 to 11 ----------------------------------------------------------------------------------


class TestTime:
    def test_is_rfc_3339_with_an_offset_within_reason(self, subtests, shop):
        for moment in [
            "2026-01-01",
            "2026-01-01T00:00:00",
            "2026-W01-1T00:00:00Z",
            "20260101T000000Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00Z",
            "2026-01-01T00:00:00z ",
            "2026-02-30T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01T00:00:00+99:99",
            "1969-12-31T23:59:59Z",
            "2999-01-01T00:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:59-12:00",
            "٢٠٢٦-01-01T00:00:00Z",
            "",
            1_767_225_600,
            None,
            True,
        ]:
            with subtests.test(moment=str(moment)[:24]):
                check(
                    shop.post_with("/v0/usage", shop.usage(timestamp=HOLE), json.dumps(moment)), (400, 422), "timestamp"
                )
                if moment is not None:
                    event = shop.event(timestamp=HOLE)
                    check(shop.post_with("/v0/events", event, json.dumps(moment)), (400, 422), "timestamp")
                    answer = shop.post_with("/v0/billableMetrics", shop.metric(eventFrom=HOLE), json.dumps(moment))
                    check(answer, 400, "eventFrom")
                    answer = shop.post_with(shop.credits, {"amount": "1", "expiresAt": HOLE}, json.dumps(moment))
                    check(answer, 400, "expiresAt")

    def test_of_an_event_lies_at_most_five_minutes_ahead(self, shop):
        soon = (datetime.now(UTC) + timedelta(minutes=6)).isoformat()

        check(shop.post_with("/v0/usage", shop.usage(timestamp=HOLE), json.dumps(soon)), 422)
        check(shop.post_with("/v0/events", shop.event(timestamp=HOLE), json.dumps(soon)), 422)


# --- metadata and text: rows 12 to 18 --------------------------------------------------------------------

DEEP = 5_000
METADATA = [
    '{"a": "\\u0000"}',
    '{"\\u0000": "a"}',
    '{"a": "\\ud800"}',
    '{"\\udfff": "a"}',
    '{"a": "\\ud800\\ud800"}',
    '{"a":' * DEEP + "1" + "}" * DEEP,
    '{"a": ' + "[" * DEEP + "]" * DEEP + "}",
    '{"a":' * 40_000 + "1" + "}" * 40_000,
    '{"a": {"b": "c"}}',
    "[]",
    '"text"',
    "5",
    "true",
    '{"a": 1}',
    '{"a": null}',
    '{"": "a"}',
    json.dumps({"k" * 41: "a"}),
    json.dumps({"k" * 100_000: "a"}),
    json.dumps({"a": "v" * 501}),
    json.dumps({f"k{number}": "a" for number in range(51)}),
]


class TestMetadata:
    def test_is_a_small_object_of_short_strings(self, subtests, shop):
        for text in METADATA:
            with subtests.test(text=str(text)[:24]):
                check(shop.post_with("/v0/usage", shop.usage(metadata=HOLE), text), 400)
                check(shop.post_with("/v0/entitlements", shop.reservation(metadata=HOLE), text), 400)
                check(shop.post_with("/v0/products", shop.product(metadata=HOLE), text), 400)


class TestText:
    def test_is_one_visible_line(self, subtests, shop):
        for text in [
            '"\\u0000"',
            '"a\\u0000b"',
            '"\\ud800"',
            '"a\\r\\nX: y"',
            '"a\\tb"',
            '"a\\u202eb"',
            '"\\u2066a"',
            '"\\u0085"',
            '"\\u2028"',
            '"\\u007f"',
            '""',
            '"   "',
            '"\\u200b"',
            json.dumps("x" * 201),
            "5",
            "null",
            "[]",
            "{}",
        ]:
            with subtests.test(text=str(text)[:24]):
                check(shop.post_with("/v0/products", shop.product(name=HOLE), text), 400)

    @pytest.mark.changes
    def test_is_measured_in_characters_and_kept_in_one_form(self, shop):
        astral = shop.post_with("/v0/products", shop.product(name=HOLE), json.dumps("😀" * 200))
        composed = shop.post_with("/v0/products", shop.product(name=HOLE), json.dumps("e\u0301"))

        assert (astral.status_code, len(astral.json()["name"])) == (201, 200)
        assert composed.json()["name"] == "\u00e9"

    @pytest.mark.changes
    def test_that_looks_like_markup_is_only_text(self, shop):
        name = "<script>alert(1)</script>{{7*7}}"

        answer = shop.post_with("/v0/products", shop.product(name=HOLE), json.dumps(name))

        assert answer.json()["name"] == name
        assert answer.headers["X-Content-Type-Options"] == "nosniff"


# --- the body: rows 19 to 25, 27 -------------------------------------------------------------------------


def doors(shop: Shop) -> list[tuple[str, dict[str, Any]]]:
    """A sound request at each door."""
    return [
        ("/v0/usage", shop.usage()),
        ("/v0/usage/batch", {"events": [shop.usage()]}),
        ("/v0/events", shop.event()),
        ("/v0/entitlements", shop.reservation()),
        ("/v0/products", shop.product()),
        ("/v0/prices/dryRun", {"model": "standard", "properties": {"unitPrice": "1"}, "events": [{}]}),
    ]


class TestTheBody:
    @pytest.mark.changes
    def test_is_sound_in_these_tests(self, shop):
        for path, body in doors(shop):
            assert shop.post_with(path, body, "").status_code in (200, 201, 202), path

    def test_has_no_key_twice(self, shop):
        for path, body in doors(shop):
            text = json.dumps(body)
            check(shop.post(path, (text[:-1] + ', "merchantId": "a", "merchantId": "b"}').encode()), 400)
            check(shop.post(path, (text[:-1] + ', "metadata": {"a": "b", "a": "c"}}').encode()), 400)

    def test_is_one_sound_object(self, subtests, shop):
        for text in [
            b"[]",
            b'"text"',
            b"null",
            b"5",
            b"{",
            b"{}{}",
            b"{} garbage",
            b"\xef\xbb\xbf{}",
            b'{"name": "\xff"}',
            b"\xff\xfe{\x00}\x00",
            b"{'a': 1}",
            b'{"a": 1,}',
            b'{"a": undefined}',
            b"//{}",
            b"\x00",
        ]:
            with subtests.test(text=str(text)[:24]):
                for path, _ in doors(shop):
                    check(shop.post(path, text), 400)

    def test_is_not_missing(self, shop):
        for path, _ in doors(shop):
            check(shop.post(path, b""), 400)

    def test_is_json_in_utf_8(self, subtests, shop):
        for content_type in [
            "application/json; charset=utf-16",
            "application/json; charset=nonsense",
            "application/json; charset=utf-8; charset=utf-16",
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data; boundary=a",
            "application/xml",
            "",
            None,
        ]:
            with subtests.test(content_type=str(content_type)[:24]):
                for path, body in doors(shop):
                    check(shop.post_with(path, body, "", Content_Type=content_type), 415)

    def test_is_not_compressed(self, shop):
        for path, body in doors(shop):
            for encoding in ("gzip", "deflate", "br", "gzip, identity"):
                check(shop.post_with(path, body, "", Content_Encoding=encoding), 415)

    def test_is_not_too_large(self, subtests, shop):
        for megabytes in [3, 20]:
            with subtests.test(megabytes=str(megabytes)[:24]):
                for path, _ in doors(shop):
                    headers = {"Content-Type": "application/json", "Content-Length": str(megabytes * 2**20)}
                    check(raw(shop, "POST", path, b" " * 1_000, headers), 413)

    def test_of_a_batch_may_be_larger_than_another(self, shop):
        events = [shop.usage(metadata={"a": "v" * 500}) for _ in range(600)]
        padded = json.dumps({"events": events, "x": ""}).encode()
        assert 256 * 1024 < len(padded) < 1024 * 1024

        check(shop.post("/v0/usage/batch", padded), 400)  # for its unknown member, not for its size
        check(shop.post("/v0/products", padded), 413)

    def test_that_does_not_say_how_long_it_is_is_refused(self, shop):
        for path, body in doors(shop):
            check(shop.post(path, iter([json.dumps(body).encode()])), (411, 413))

    def test_without_end_is_cut_off(self, shop):
        for path, _ in doors(shop):
            chunks = b"".join(b"10000\r\n" + b" " * 0x10000 + b"\r\n" for _ in range(20))
            headers = {"Content-Type": "application/json", "Transfer-Encoding": "chunked"}
            check(raw(shop, "POST", path, chunks, headers), (411, 413))

    def test_holds_nothing_that_is_not_asked_for(self, subtests, shop):
        for name in ["id", "merchant", "balance", "mode", "createdAt", "object", "x", "__proto__"]:
            with subtests.test(name=str(name)[:24]):
                for path, body in doors(shop):
                    check(shop.post_with(path, {**body, name: "x"}, ""), 400, name)
                inside = shop.usage(properties=[{"billableMetricId": shop.ids["metric"], "quantity": 1, name: "x"}])
                check(shop.post_with("/v0/usage", inside, ""), 400, f"properties.0.{name}")


# --- keys and paths: rows 28 to 30, 33 -------------------------------------------------------------------

NO_KEYS = ["", " ", "a b", "x" * 256, "é", "😀", "a\tb", "\n"]


class TestIdempotencyKeys:
    def test_in_the_body_are_short_and_printable(self, subtests, shop):
        for key in [*NO_KEYS, 5, None, True, ["a"]]:
            with subtests.test(key=str(key)[:24]):
                body = shop.post_with("/v0/usage", shop.usage(idempotencyKey=HOLE), json.dumps(key))

                check(body, 400, "idempotencyKey")

    def test_in_the_header_are_short_and_printable(self, subtests, shop):
        for key in ["", " ", "a b", "x" * 256, "\xe9"]:
            with subtests.test(key=str(key)[:24]):
                for path, body in (("/v0/products", shop.product()), ("/v0/entitlements", shop.reservation())):
                    content = json.dumps(body).encode()
                    headers = {
                        "Content-Type": "application/json",
                        "Content-Length": str(len(content)),
                        "Idempotency-Key": key,
                    }
                    check(raw(shop, "POST", path, content, headers), 400, "Idempotency-Key")

    @pytest.mark.changes
    def test_sent_eight_times_at_once_have_one_effect_and_one_answer(self, shop):
        before = effects()
        requests: list[tuple[str, dict[str, Any], dict[str, str]]] = [("/v0/usage", shop.usage(), {})]
        requests += [
            (path, body, {"Idempotency_Key": "race"})
            for path, body in (("/v0/products", shop.product()), ("/v0/entitlements", shop.reservation()))
        ]
        for path, body, headers in requests:
            with ThreadPoolExecutor(8) as pool:
                answers = list(pool.map(lambda _, p=path, b=body, h=headers: shop.post_with(p, b, "", **h), range(8)))
            assert {answer.status_code for answer in answers} == {201}, path
            assert len({answer.content for answer in answers}) == 1, path
            assert [answer.headers.get("Idempotent-Replayed") for answer in answers].count(None) == 1, path
        after = effects()
        assert {name: after[name] - before[name] for name in after if after[name] != before[name]} == {
            "UsageEvent": 1,
            "Product": 1,
            "Reservation": 1,
        }


class TestPaths:
    def test_that_lead_nowhere_are_404(self, subtests, shop):
        for path in [
            "/v0/products/%00",
            "/v0/products/prod_%00",
            "/v0/products/1",
            "/v0/products/prod_" + "u" * 26,
            "/v0/products/prod_" + "8" * 26,
            "/v0/products/PROD_" + "0" * 26,
            "/v0/products/prod_" + "0" * 26 + "%0a",
            "/v0/products/../../etc/passwd",
            "/v0/products/%2e%2e%2f",
            "/v0/products/%ff",
            "/v0/products/",
            "/v0//products",
            "/v0/entitlements/com_1",
            "/v0/customers/" + "a" * 5_000,
        ]:
            with subtests.test(path=str(path)[:24]):
                check(raw(shop, "GET", path), 404)

    def test_of_the_lane_that_lead_nowhere_are_404(self, subtests, shop):
        for verb in ["release", "extend"]:
            for part in ["com_1", "%00", "1", "com_" + "0" * 26]:
                with subtests.test(verb=str(verb)[:24], part=str(part)[:24]):
                    check(
                        raw(
                            shop,
                            "POST",
                            f"/v0/entitlements/{part}/{verb}",
                            b'{"expiresIn": 60}' if verb == "extend" else b"{}",
                        ),
                        404,
                    )

    def test_of_any_length_are_answered(self, shop):
        assert raw(shop, "GET", "/v0/products/" + "a" * 60_000).status_code in (404, 414)

    def test_know_their_methods(self, subtests, shop):
        for method in ["PUT", "PATCH", "DELETE", "OPTIONS", "TRACE"]:
            with subtests.test(method=str(method)[:24]):
                check(raw(shop, method, "/v0/usage/batch"), (404, 405))
                check(raw(shop, method, "/v0/products"), 405)

    def test_refuse_methods_that_nobody_knows(self, shop):
        check(raw(shop, "BREW", "/v0/usage/batch"), 400)
        check(raw(shop, "BREW", "/v0/products"), 400)


class TestAuthorization:
    def test_is_one_header_with_one_key(self, subtests, shop):
        for path in ["/v0/usage", "/v0/products", "/v0/entitlements"]:
            with subtests.test(path=str(path)[:24]):
                secret = shop.seller.secret
                for values in ([], ["Bearer"], [secret], [f"Basic {secret}"], [f"Bearer {secret}", f"Bearer {secret}"]):
                    answer = raw(shop, "POST", path, b"{}", authorization=values)
                    check(answer, 401)
                    assert answer.headers["WWW-Authenticate"] == "Bearer"

    def test_is_not_taken_from_the_query_string(self, subtests, shop):
        for path in ["/v0/usage", "/v0/products", "/v0/entitlements"]:
            with subtests.test(path=str(path)[:24]):
                answer = raw(shop, "POST", f"{path}?api_key={shop.seller.secret}", b"{}", authorization=[])

                check(answer, (400, 401))
                assert shop.seller.secret not in answer.text

    def test_may_be_written_in_any_case(self, shop):
        answer = raw(shop, "POST", "/v0/usage", b"{}", authorization=[f"bEARER {shop.seller.secret}"])

        check(answer, 400)


# --- batches: row 44 -------------------------------------------------------------------------------------


class TestBatches:
    def test_of_more_than_a_thousand_are_refused_whole(self, shop):
        small = {"idempotencyKey": "a"}

        check(shop.post("/v0/usage/batch", json.dumps({"events": [small] * 10_000}).encode()), 400, "events")
        check(shop.post("/v0/usage/batch", json.dumps({"events": [small] * 1_001}).encode()), 400, "events")
        check(shop.post("/v0/usage/batch", b'{"events": []}'), 400, "events")

    @pytest.mark.changes
    def test_lose_only_what_is_bad_in_them(self, shop):
        events: list[Any] = [shop.usage() for _ in range(20)]
        events[7] = shop.quantity(-1)
        events[11] = {"nothing": "at all"}
        events[13] = "text"

        answer = shop.post("/v0/usage/batch", json.dumps({"events": events}).encode())

        body = answer.json()
        assert answer.status_code == 207
        assert [failure["index"] for failure in body["failed"]] == [7, 11, 13]
        assert body["summary"] == {"total": 20, "successful": 17, "failed": 3}
        assert UsageEvent.objects.count() == 17
