"""Three merchants with one of everything, and every request of the API with the places where it takes an id.

A new route needs one line here: ``request("POST", "/v0/widgets/{widget}/spin", {"productId": Id("product")})``.
``{widget}`` and ``Id("product")`` are places for ids; what goes in is an attribute of ``Belongings``.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from typing import Any
from uuid import uuid4

import httpx

from billing.models import (
    Invoice,
    PaymentAttempt,
    PaymentMethod,
    PaymentRefund,
    Payout,
    Subscription,
    TopUp,
    Wallet,
    Withdrawal,
)
from customers.models import TestClock
from merchants import ids
from merchants.models import ApiKey, Delivery, Membership, Merchant, Mode, Role, User
from merchants.webhooks import listing
from merchants.webhooks.catalogue import TEST
from tests import callers, factories
from tests.billing import papers
from tests.callers import Caller

_place = re.compile(r"\{(\w+)\}")


@dataclass(frozen=True)
class Id:
    """A place in a body or a query that takes the id of one kind of thing."""

    kind: str


@dataclass(frozen=True)
class Request:
    """One request; the places for ids are open."""

    method: str
    path: str
    body: dict[str, Any] | None = None
    query: dict[str, Any] = field(default_factory=dict)
    status: tuple[int, ...] = (200, 201)  # of the answer about the caller's own things

    def places(self) -> list[tuple[str, str]]:
        """Name each place, and the kind of thing it takes."""
        found = [(f"path.{kind}", kind) for kind in _place.findall(self.path)]
        return found + list(_places(self.body or {}, "body")) + list(_places(self.query, "query"))

    def filled(self, own: dict[str, str], elsewhere: dict[str, str]) -> tuple[str, Any, Any]:
        """Write path, body and query, each place with its id in ``elsewhere`` if it has one there, else in ``own``."""
        path = _place.sub(lambda match: elsewhere.get(f"path.{match[1]}", own[match[1]]), self.path)
        return path, _fill(self.body, "body", own, elsewhere), _fill(self.query, "query", own, elsewhere)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"


def _places(value: Any, at: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Id):
        yield at, value.kind
    for key, member in (
        value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    ):
        yield from _places(member, f"{at}.{key}")


def _fill(value: Any, at: str, own: dict[str, str], elsewhere: dict[str, str]) -> Any:
    if isinstance(value, Id):
        return elsewhere.get(at, own[value.kind])
    if isinstance(value, dict):
        return {key: _fill(member, f"{at}.{key}", own, elsewhere) for key, member in value.items()}
    if isinstance(value, list):
        return [_fill(member, f"{at}.{index}", own, elsewhere) for index, member in enumerate(value)]
    return value() if callable(value) else value


# --- what the merchants have -----------------------------------------------------------------------------


@dataclass
class Belongings:
    """One of everything, by kind, as public ids."""

    caller: Caller
    things: dict[str, str]


def belongings(caller: Caller, url: str) -> Belongings:
    """Make one of everything for a merchant."""
    product_id = callers.product(caller)["id"]
    metric_id = callers.metric(caller, product_id, eventType="completion", valueProperty="$.n")["id"]
    fee_id = callers.fee(caller, product_id)["id"]
    price_id = callers.price(caller, metric_id=metric_id, paymentTerm="in_arrears")["id"]
    flat_id = callers.price(caller, fee_id=fee_id, paymentTerm="in_arrears")["id"]
    plan_id = callers.plan(caller, [price_id, flat_id])["id"]
    things = {"merchant": caller.merchant_id, "product": product_id, "metric": metric_id, "fee": fee_id}
    things |= {"price": price_id, "plan": plan_id} | buyer(caller, plan_id)
    things |= _entitled(caller, product_id, things["customer"])
    coupon = {"code": "A", "name": "A", "percentOff": 5, "duration": "forever"}
    coupon_id = callers.made(caller.post("/v0/coupons", {"merchantId": caller.merchant_id, **coupon}))["id"]
    things["coupon"] = coupon_id
    things |= _payable(caller, plan_id)
    things |= _paid(caller, things["customer"]) | _webhook(caller)
    things |= {"flat": flat_id, "other_plan": callers.plan(caller, [price_id])["id"]}
    changes = f"/v0/subscriptions/{things['subscription']}"
    wanted = {"planId": things["other_plan"], "effective": "period_end"}
    caller.patch(f"/v0/plans/{plan_id}", {"appliesTo": "next_period"})
    things["rollout"] = caller.get("/v0/rollouts").json()["data"][0]["id"]
    things["plan_change"] = callers.made(caller.post(f"{changes}/planChanges", wanted))["id"]
    caller.delete(f"{changes}/planChanges/{things['plan_change']}")
    things["change"] = things["plan_change"]  # as the dashboard's addresses call it
    things["add_on"] = callers.made(caller.post(f"{changes}/addOns", {"priceId": flat_id}))["id"]
    invoice = Invoice.objects.get(id=ids.parse("inv", things["invoice"]))
    things["credit_note"] = ids.text("cn", papers.credited(invoice).id)
    made = Belongings(caller, things)
    for kind in ("clock", "running_clock"):
        at = datetime.now(UTC)
        made_clock = TestClock.objects.create(merchant=caller.merchant, current_time=at, created_at=at, updated_at=at)
        things[kind] = ids.text("tc", made_clock.id)
    things |= _on_its_way(caller, things["wallet"])
    given = Request("POST", "/v0/wallets/{wallet}/credits", {"amount": "1"})
    kinds = {"alert": SET_ALERT, "lot": given, "reservation": RESERVE, "event": USE, "dispute": DISPUTE}
    for kind, request in (kinds | {"budget": SET_BUDGET}).items():
        things[kind] = send(url, made, request)["id"]
    things["key"] = ids.text("key", ApiKey.objects.filter(merchant=caller.merchant)[0].id)
    user = User.objects.create_user(f"{uuid4().hex}@example.com")
    member = Membership.objects.create(organization=caller.merchant.organization, user=user, role=Role.ANALYST)
    things["member"] = ids.text("mem", member.id)
    lines = send(url, made, Request("GET", "/v2/invoices/{invoice}/lineItems"))["lineItems"]
    things["line"] = lines[0]["id"]
    return made


def _webhook(caller: Caller) -> dict[str, str]:
    """Make an endpoint, and a delivery to it."""
    made = callers.made(caller.post("/v0/webhooks", {"url": "https://hooks.example.com/"}))
    callers.made(caller.post(f"/v0/webhooks/{made['id']}/test", {}))
    listing.list_events(merchant_id=caller.merchant.id, now=factories.NOW)
    delivery = Delivery.objects.get(endpoint_id=ids.parse("we", made["id"]), event_type=TEST)
    return {"webhook": made["id"], "delivery": ids.text("whd", delivery.id)}


def _on_its_way(caller: Caller, wallet: str) -> dict[str, str]:
    """Write down a withdrawal and a payout; no money is behind either."""
    pot = Wallet.objects.get(id=ids.parse("acc", wallet))
    named = {"id": ids.new(pot.bucket), "amount": 1, "currency": "USD", "created_at": factories.NOW}
    withdrawal = Withdrawal.objects.create(
        bucket=pot.bucket,
        customer_id=pot.customer_id,
        merchant_id=caller.merchant.id,
        wallet_id=pot.id,
        state="approved",
        by_hand="due",
        **named,
    )
    provider = "test" if caller.merchant.mode == Mode.TEST else "manual"
    payout = Payout.objects.create(merchant=caller.merchant, number=1, state="pending", provider=provider, **named)
    return {"withdrawal": ids.text("wd", withdrawal.id), "payout": ids.text("po", payout.id)}


def _entitled(caller: Caller, product_id: str, customer_id: str) -> dict[str, str]:
    """Make features, an entitlement to one of them, and a grant."""
    metered_id = callers.metric(caller, product_id)["id"]
    feature_id = callers.metered_feature(caller, product_id, metered_id)["id"]
    entitlement_id = callers.entitle(caller, customer_id, feature_id, callers.metered_template())["id"]
    return {
        "metered": metered_id,
        "feature": feature_id,
        "switch": callers.feature(caller, product_id)["id"],
        "entitlement": entitlement_id,
        "grant": callers.grant(caller, entitlement_id)["id"],
    }


def _payable(caller: Caller, plan_id: str) -> dict[str, str]:
    """Make a one-off payment with its session, a payment link, and an authorization."""
    asked = {"amount": "1.00", "currency": "USD"}
    payment = callers.made(caller.post("/v0/payments", asked))
    link = callers.made(caller.post("/v0/paymentLinks", {**asked, "description": "A"}))
    invited = {"email": _email(), "planId": plan_id}
    return {
        "payment": payment["id"],
        "session": payment["paymentSessionId"],
        "link": link["id"],
        "authorization": callers.made(caller.post("/v0/customers/authorization", invited))["id"],
    }


def _paid(caller: Caller, customer_id: str) -> dict[str, str]:
    """Make a payment that came in some other way, with a refund, and a saved card."""
    owner = ids.parse("cus", customer_id)
    bucket = ids.bucket_of(owner)
    of_customer = {"bucket": bucket, "customer_id": owner, "merchant_id": caller.merchant.id}
    money = {"amount": 10**9, "currency": "USD", "state": "succeeded", "created_at": factories.NOW}
    attempt = PaymentAttempt.objects.create(
        **of_customer, **money, id=ids.new(bucket), purpose="topup", target_id=ids.new(bucket), provider="recorded"
    )
    refund = PaymentRefund.objects.create(**of_customer, **money, id=ids.new(bucket), attempt_id=attempt.id)
    card = {"provider": "test", "provider_ref": "test_success", "kind": "card", "created_at": factories.NOW}
    method = PaymentMethod.objects.create(**of_customer, **card, id=ids.new(bucket))
    return {
        "attempt": ids.text("att", attempt.id),
        "refund": ids.text("re", refund.id),
        "method": ids.text("pm", method.id),
    }


def buyer(caller: Caller, plan_id: str) -> dict[str, str]:
    """Make a customer with a subscription, and what comes with it."""
    consumer = {"name": "Ada", "email": f"{uuid4().hex}@example.com", "address": {}}
    body = {"merchantId": caller.merchant_id, "consumer": consumer}
    customer_id = callers.made(caller.post("/v0/customers", body))["customerId"]
    started = {"name": "Ada's", "planId": plan_id, "customerId": customer_id, "startedAt": _now()}
    subscription = callers.made(caller.post("/v0/subscriptions", started))
    row = Subscription.objects.get(id=ids.parse("sub", subscription["id"]))
    top_up = TopUp.objects.create(
        bucket=row.bucket,
        id=ids.new(row.bucket),
        customer_id=row.customer_id,
        wallet_id=row.prepaid_wallet_id,
        amount=1,
        currency="USD",
        status=TopUp.Status.FAILED,
        method="test",
        created_at=factories.NOW,
    )
    assert row.invoice_id is not None
    return {
        "customer": customer_id,
        "consumer": caller.get(f"/v0/customers/{customer_id}").json()["consumerId"],
        "subscription": subscription["id"],
        "wallet": subscription["walletId"],
        "credit": subscription["creditWalletId"],
        "top_up": ids.text("top", top_up.id),
        "invoice": ids.text("inv", row.invoice_id),
    }


def neighbours(url: str) -> tuple[Belongings, list[Belongings]]:
    """One merchant, and the others it must not see: its own organization's in live mode, and a stranger."""
    merchant = factories.merchant()
    live = Merchant.objects.create(organization=merchant.organization, mode=Mode.LIVE)
    own, *others = [
        belongings(callers.caller(*callers.FULL, merchant=each), url) for each in (merchant, live, factories.merchant())
    ]
    return own, others


def send(url: str, who: Belongings, request: Request) -> Any:
    """Send a request about a merchant's own things, which has to succeed."""
    answer = sent(url, who, request, {})
    assert answer.status_code in request.status, f"{request}: {answer.status_code} {answer.text}"
    return answer.json() if answer.content else None


def sent(url: str, who: Belongings, request: Request, elsewhere: dict[str, str]) -> httpx.Response:
    """Send a request with a merchant's key, some of its places filled with other ids."""
    path, body, query = request.filled(who.things, elsewhere)
    headers = {"Authorization": f"Bearer {who.caller.secret}"}
    return _client().request(request.method, url + path, json=body, params=query, headers=headers)


@cache
def _client() -> httpx.Client:
    return httpx.Client(timeout=30)


def _now() -> str:
    return datetime.now(UTC).isoformat()


def _ago() -> str:
    return (datetime.now(UTC) - timedelta(days=1)).isoformat()


def _soon() -> str:
    return (datetime.now(UTC) + timedelta(days=1)).isoformat()


def _key() -> str:
    return uuid4().hex


def _email() -> str:
    return f"{uuid4().hex}@example.com"


# --- every request of the API ----------------------------------------------------------------------------

MERCHANT = {"merchantId": Id("merchant")}
TEXTS = {"name": "A", "description": "B"}
USE = Request(
    "POST",
    "/v0/usage",
    {
        **MERCHANT,
        "customerId": Id("customer"),
        "idempotencyKey": _key,
        "timestamp": _now,
        "properties": [{"billableMetricId": Id("metric"), "quantity": 1}],
        "entitlementId": Id("reservation"),
    },
)
DISPUTE = Request(
    "POST",
    "/v0/disputes",
    {"usageEventId": Id("event"), "message": "Charged twice for one call."},
    status=(201, 409),
)
RESERVE = Request(
    "POST",
    "/v0/entitlements",
    {
        **MERCHANT,
        "customerId": Id("customer"),
        "entitlementData": [{"billableMetricId": Id("metric"), "quantity": 10}],
        "maxUses": 100,
    },
)
SET_BUDGET = Request(
    "POST",
    "/v0/budgets",
    {
        "customerId": Id("customer"),
        "name": "A",
        "limit": "1000000",
        "currency": "USD",
        "window": "day",
        "productId": Id("product"),
        "billableMetricId": Id("metric"),
    },
)
SET_ALERT = Request(
    "POST",
    "/v0/alerts",
    {"type": "wallet_low_balance", "resourceId": Id("wallet"), "config": {"threshold": "1"}, "enabled": False},
)
TERMS = {"invoiceDisplayName": "A", "model": "standard", "properties": {"unitPrice": "1"}, "paymentTerm": "in_arrears"}
MANUAL_LINE = {"displayName": "A", "currency": "USD", "quantity": 1, "unitPrice": 1}
METERED = {"type": "metered", "usagePeriod": {"interval": "P1M"}, "issueAfterReset": 1000}
PERIOD = {"startTime": _ago, "endTime": _soon}
SPAN = {"from": _ago, "to": _soon}

REQUESTS = [
    Request("GET", "/v0/products", query=MERCHANT),
    Request("POST", "/v0/products", {**MERCHANT, **TEXTS}),
    Request("GET", "/v0/products/{product}"),
    Request("PATCH", "/v0/products/{product}", {"name": "A"}),
    Request("GET", "/v0/billableMetrics", query={**MERCHANT, "productId": Id("product")}),
    Request(
        "POST",
        "/v0/billableMetrics",
        {**MERCHANT, **TEXTS, "productId": Id("product"), "unit": "a", "aggregation": "SUM"},
    ),
    Request("GET", "/v0/billableMetrics/{metric}"),
    Request("PATCH", "/v0/billableMetrics/{metric}", {"name": "A"}),
    Request("GET", "/v0/billableMetrics/{metric}/meter", query={**SPAN, "subject": Id("customer")}),
    Request("GET", "/v0/billableMetrics/{metric}/events", query={**SPAN, "subject": Id("customer")}),
    Request("GET", "/v0/fees", query={**MERCHANT, "productId": Id("product")}),
    Request("POST", "/v0/fees", {**MERCHANT, **TEXTS, "productId": Id("product")}),
    Request("GET", "/v0/fees/{fee}"),
    Request("PATCH", "/v0/fees/{fee}", {"name": "A"}),
    Request("GET", "/v0/fees/{fee}/price/{subscription}"),
    Request("DELETE", "/v0/fees/{fee}", status=(409,)),
    Request("GET", "/v0/prices", query={"billableMetricId": Id("metric")}),
    Request("POST", "/v0/prices", {**TERMS, "billableMetricId": Id("metric")}),
    Request("POST", "/v0/prices", {**TERMS, "feeId": Id("fee"), "billingCadence": "P1M"}),
    Request(
        "POST",
        "/v0/prices/dryRun",
        {"model": "standard", "properties": {"unitPrice": "1"}, "billableMetricId": Id("metric"), "events": [{}]},
    ),
    Request("GET", "/v0/prices/{price}"),
    Request("PATCH", "/v0/prices/{price}", {"invoiceDisplayName": "A", "billableMetricId": Id("metric")}),
    Request("DELETE", "/v0/prices/{price}", status=(409,)),
    Request("GET", "/v0/plans", query={**MERCHANT, "productId": Id("product")}),
    Request(
        "POST",
        "/v0/plans",
        {**MERCHANT, "name": "A", "currency": "USD", "productId": Id("product"), "prices": [Id("price")]},
    ),
    Request("GET", "/v0/plans/available", query={"customerId": Id("customer"), "productId": Id("product")}),
    Request("GET", "/v0/plans/{plan}"),
    Request("PATCH", "/v0/plans/{plan}", {"prices": [Id("price")]}),
    Request("POST", "/v0/plans/{plan}/preview", {"prices": [Id("price")]}),
    Request("POST", "/v0/prices/{price}/preview", {"invoiceDisplayName": "A", "billableMetricId": Id("metric")}),
    Request("GET", "/v0/rollouts", query={"planId": Id("plan")}),
    Request("GET", "/v0/rollouts/{rollout}"),
    Request("DELETE", "/v0/rollouts/{rollout}"),
    Request("GET", "/v0/webhooks", query=MERCHANT),
    Request("POST", "/v0/webhooks", {**MERCHANT, "url": "https://hooks.example.com/"}),
    Request("GET", "/v0/webhooks/{webhook}"),
    Request("PATCH", "/v0/webhooks/{webhook}", {"description": "A"}),
    Request("POST", "/v0/webhooks/{webhook}/rotate", {"overlapHours": 1}),
    Request("POST", "/v0/webhooks/{webhook}/test", {}),
    Request("POST", "/v0/webhooks/{webhook}/replay", {"since": _ago}),
    Request("GET", "/v0/webhooks/{webhook}/deliveries"),
    Request("GET", "/v0/webhooks/{webhook}/deliveries/{delivery}"),
    Request("POST", "/v0/webhooks/{webhook}/deliveries/{delivery}/resend", {}),
    Request("GET", "/v0/events-log"),
    Request("GET", "/v0/coupons", query=MERCHANT),
    Request(
        "POST",
        "/v0/coupons",
        {
            **MERCHANT,
            "code": _key,
            "name": "A",
            "amountOff": "1",
            "currency": "USD",
            "duration": "once",
            "productId": Id("product"),
            "planId": Id("plan"),
        },
    ),
    Request("GET", "/v0/coupons/{coupon}"),
    Request("GET", "/v0/subscriptions/{subscription}/coupons"),
    Request("POST", "/v0/subscriptions/{subscription}/coupons", {"couponCode": "A"}),
    Request("GET", "/v0/customers", query={"organizationId": Id("merchant")}),
    Request("POST", "/v0/customers", {**MERCHANT, "consumer": {"name": "A", "email": _email, "address": {}}}),
    Request("GET", "/v0/customers/{customer}"),
    Request("PATCH", "/v0/customers/{customer}", {"taxId": "A"}),
    Request("GET", "/v0/subscriptions", query={**MERCHANT, "customerId": Id("customer")}),
    Request(
        "POST",
        "/v0/subscriptions",
        {"name": "A", "planId": Id("plan"), "customerId": Id("customer"), "startedAt": _now},
    ),
    Request("GET", "/v0/testClocks", query=MERCHANT),
    Request("POST", "/v0/testClocks", MERCHANT),
    Request("GET", "/v0/testClocks/{clock}"),
    Request("PATCH", "/v0/testClocks/{clock}", {"advanceBy": "PT1S"}),
    Request(
        "POST",
        "/v0/subscriptions",
        {
            "name": "A",
            "planId": Id("plan"),
            "customer": {"name": "A", "email": _email, "address": {"country": "US"}},
            "startedAt": _now,
            "testClockId": Id("running_clock"),
        },
    ),
    Request("GET", "/v0/subscriptions/{subscription}"),
    Request("PATCH", "/v0/subscriptions/{subscription}", {"taxExempt": False}),
    Request("POST", "/v0/subscriptions/{subscription}/portal", {}),
    Request("GET", "/v0/subscriptions/{subscription}/planChanges"),
    Request(
        "POST",
        "/v0/subscriptions/{subscription}/planChanges/preview",
        {"planId": Id("other_plan"), "effective": "now"},
    ),
    Request("DELETE", "/v0/subscriptions/{subscription}/planChanges/{plan_change}"),
    Request("GET", "/v0/subscriptions/{subscription}/addOns"),
    Request("POST", "/v0/subscriptions/{subscription}/addOns", {"priceId": Id("flat")}),
    Request("POST", "/v0/subscriptions/{subscription}/addOns/{add_on}/end", {"endsAt": _soon}),
    Request("GET", "/v0/wallets", query={"customerId": Id("customer")}),
    Request("GET", "/v0/wallets/{wallet}"),
    Request("PATCH", "/v0/wallets/{credit}", {"creditLimit": "1000000"}),
    Request("GET", "/v0/wallets/{wallet}/topups"),
    Request("POST", "/v0/wallets/{wallet}/topups", {"amount": "1"}),
    Request("GET", "/v0/wallets/{wallet}/topups/{top_up}"),
    Request("GET", "/v0/wallets/{wallet}/credits"),
    Request("POST", "/v0/wallets/{wallet}/credits", {"amount": "1"}),
    Request("GET", "/v0/wallets/{wallet}/credits/{lot}"),
    Request("GET", "/v0/wallets/{wallet}/transactions"),
    Request("GET", "/v0/wallets/{wallet}/transactions/export"),
    Request("GET", "/v0/wallets/{wallet}/charges/export"),
    Request("GET", "/v0/alerts", query={"resourceId": Id("wallet")}),
    Request("GET", "/v0/balance"),
    Request(
        "GET", "/v0/revenue", query={"startTime": _ago, "endTime": _soon, **MERCHANT, "customerId": Id("customer")}
    ),
    Request("GET", "/v0/payouts"),
    Request("POST", "/v0/payouts", {"currency": "USD", "amount": "1000000"}, status=(422,)),
    Request("GET", "/v0/payouts/{payout}"),
    Request("PATCH", "/v0/payouts/{payout}", {"status": "paid"}, status=(200, 409)),  # the test provider's is its own
    Request("GET", "/v0/withdrawals", query={"walletId": Id("wallet")}),
    Request("POST", "/v0/wallets/{wallet}/withdrawals", {"amount": "1000000"}, status=(422,)),
    Request("GET", "/v0/withdrawals/{withdrawal}"),
    SET_ALERT,
    Request("GET", "/v0/alerts/{alert}"),
    Request("PATCH", "/v0/alerts/{alert}", {"notifyPeriod": "PT1H"}),
    Request(
        "POST",
        "/v0/wallets/{wallet}/autoTopupConfig",
        {"amount": "5", "threshold": "1", "enabled": False},
    ),
    Request("GET", "/v0/wallets/{wallet}/autoTopupConfig"),
    Request("PATCH", "/v0/wallets/{wallet}/autoTopupConfig", {"amount": "6"}),
    USE,
    DISPUTE,
    Request("GET", "/v0/disputes", query={**MERCHANT, "customerId": Id("customer")}),
    Request("GET", "/v0/disputes", query={"consumerId": Id("consumer")}),
    Request("GET", "/v0/disputes/{dispute}"),
    Request("POST", "/v0/usage/batch", {"events": [USE.body]}),
    Request(
        "POST",
        "/v0/events",
        {
            "type": "completion",
            "source": "a",
            "subject": Id("customer"),
            "namespace": Id("merchant"),
            "idempotencyKey": _key,
            "data": {"n": 1},
        },
        status=(202,),
    ),
    RESERVE,
    Request("POST", "/v0/entitlements/{reservation}/extend", {"expiresIn": 900}),
    Request("GET", "/v0/usage", query={**PERIOD, **MERCHANT}),
    Request("GET", "/v0/usage", query={**PERIOD, "customerId": Id("customer"), "subscriptionId": Id("subscription")}),
    Request("GET", "/v0/usage", query={**PERIOD, "consumerId": Id("consumer")}),
    Request("GET", "/v0/usage/{event}"),
    Request("GET", "/v0/entitlements", query={**MERCHANT, "customerId": Id("customer")}),
    Request("GET", "/v0/entitlements/{reservation}"),
    Request(
        "GET",
        "/v0/entitlements/activeEntitlements",
        query={"customerId": Id("customer"), "productId": Id("product"), "subscriptionId": Id("subscription")},
    ),
    SET_BUDGET,
    Request("GET", "/v0/budgets", query={**MERCHANT, "customerId": Id("customer")}),
    Request("GET", "/v0/budgets/{budget}"),
    Request("GET", "/v0/budgets/{budget}/counters"),
    Request("PATCH", "/v0/budgets/{budget}", {"name": "A"}),
    Request("GET", "/v0/payments", query={**MERCHANT, "customerId": Id("customer")}),
    Request(
        "POST",
        "/v0/payments",
        {**MERCHANT, "amount": "1.00", "currency": "USD", "customerId": Id("customer")},
        status=(201,),
    ),
    Request("GET", "/v0/payments/{payment}"),
    Request("GET", "/v0/payments/{payment}/refunds"),
    Request("POST", "/v0/payments/{payment}/refunds", {"amount": "1"}, status=(422,)),  # it is not paid
    Request("GET", "/v0/paymentAttempts", query={**MERCHANT, "customerId": Id("customer")}),
    Request("GET", "/v0/paymentAttempts/{attempt}"),
    Request("GET", "/v0/paymentAttempts/{attempt}/steps"),
    Request("GET", "/v0/paymentAttempts/{attempt}/refunds"),
    Request("POST", "/v0/paymentAttempts/{attempt}/refunds", {"amount": "1"}, status=(422,)),  # nobody to ask for it
    Request("GET", "/v0/paymentRefunds/{refund}"),
    Request("GET", "/v0/customers/{customer}/paymentMethods"),
    Request("POST", "/v0/customers/{customer}/paymentMethods", {}),
    Request("GET", "/v0/customers/{customer}/paymentMethods/{method}"),
    Request("PATCH", "/v0/customers/{customer}/paymentMethods/{method}", {"isDefault": True}),
    Request("POST", "/v0/consumers/{consumer}/offSessionPaymentMethods", {}),
    Request("GET", "/v0/paymentSessions", query={**MERCHANT, "customerId": Id("customer")}),
    Request("GET", "/v0/paymentSessions/{session}"),
    Request("GET", "/v0/paymentLinks", query=MERCHANT),
    Request(
        "POST",
        "/v0/paymentLinks",
        {**MERCHANT, "amount": "1.00", "currency": "USD", "description": "A", "customerId": Id("customer")},
    ),
    Request("GET", "/v0/paymentLinks/{link}"),
    Request("PATCH", "/v0/paymentLinks/{link}", {"description": "B"}),
    Request("GET", "/v0/paymentLinks/{link}/payments"),
    Request(
        "POST",
        "/v0/paymentLinks/{link}/confirm",
        {"orderId": _key, "amount": "1.00", "currency": "USD"},
        status=(409,),
    ),
    Request("GET", "/v0/customers/authorization", query=MERCHANT),
    Request("POST", "/v0/customers/authorization", {**MERCHANT, "email": _email, "planId": Id("plan")}),
    Request("GET", "/v0/customers/authorization/{authorization}"),
    Request("GET", "/v2/invoices", query={**MERCHANT, "subscriptionId": Id("subscription")}),
    Request("GET", "/v2/invoices/{invoice}"),
    Request("GET", "/v2/invoices/{invoice}/lineItems"),
    Request("GET", "/v2/invoices/lineItems", query={"subscriptionId": Id("subscription")}),
    Request("GET", "/v2/invoices/lineItems", query={"invoiceId": Id("invoice")}),
    Request("POST", "/v2/invoices/lineItems", {**MANUAL_LINE, "subscriptionId": Id("subscription")}),
    Request("POST", "/v2/invoices/lineItems", {**MANUAL_LINE, "invoiceId": Id("invoice")}),
    Request("POST", "/v2/invoices/{invoice}/creditNotes", {"reason": "other"}, status=(409,)),
    Request("POST", "/v2/invoices/{invoice}/pay", {}, status=(409,)),
    Request("POST", "/v2/invoices/{invoice}/markPaid", {"reference": "A"}, status=(409,)),
    Request("GET", "/v2/invoices/{invoice}/payments"),
    Request("POST", "/v2/invoices/{invoice}/issue", {}, status=(409,)),
    Request("POST", "/v2/invoices/{invoice}/void", {"reason": "A"}, status=(409,)),
    Request("POST", "/v2/invoices/{invoice}/regenerate", {}, status=(409,)),
    Request("POST", "/v2/invoices/{invoice}/writeOff", {"reason": "A"}, status=(409,)),
    Request("PATCH", "/v2/customers/{customer}/billingTerms", {"netDays": 14}),
    Request("GET", "/v0/organization"),
    Request("PATCH", "/v0/organization", {**MERCHANT, "legalName": "A"}),
    Request("GET", "/v2/billingPolicy"),
    Request("PATCH", "/v2/billingPolicy", {**MERCHANT, "netDays": 14}),
    Request("POST", "/v0/subscriptions/{subscription}/pause", {}),
    Request("POST", "/v0/subscriptions/{subscription}/resume", {}),
    Request("GET", "/v2/creditNotes", query={**MERCHANT, "invoiceId": Id("invoice")}),
    Request("GET", "/v2/creditNotes/{credit_note}"),
    Request("GET", "/v2/invoices/{invoice}/pdf", status=(409,)),  # theirs is still open
    Request("GET", "/v2/invoices/{invoice}/xml", status=(409,)),
    Request("GET", "/v2/creditNotes/{credit_note}/pdf"),
    Request("GET", "/v2/creditNotes/{credit_note}/xml", status=(409,)),  # of parties without a country
    Request("GET", "/v2/invoices/{invoice}/lineItems/{line}/events"),
    Request("GET", "/v0/features", query={"productId": Id("product")}),
    Request(
        "POST",
        "/v0/features",
        {
            **MERCHANT,
            "productId": Id("product"),
            "key": _key,
            "name": "A",
            "type": "metered",
            "billableMetricId": Id("metric"),
        },
    ),
    Request("GET", "/v0/features/{feature}"),
    Request("PATCH", "/v0/features/{feature}", {"name": "A"}),
    Request("DELETE", "/v0/features/{feature}", status=(409,)),
    Request(
        "POST",
        "/v0/prices",
        {
            **TERMS,
            "billableMetricId": Id("metered"),
            "feature": {"featureId": Id("feature"), "entitlementTemplate": METERED},
        },
    ),
    Request(
        "GET",
        "/v1/entitlements",
        query={"customerId": Id("customer"), "productId": Id("product")},
    ),
    Request(
        "GET",
        "/v1/entitlements",
        query={"customerId": Id("customer"), "subscriptionId": Id("subscription"), "at": _ago},
    ),
    Request(
        "POST",
        "/v1/entitlements",
        {
            "customerId": Id("customer"),
            "featureId": Id("switch"),
            "subscriptionId": Id("subscription"),
            "template": {"type": "boolean"},
        },
    ),
    Request("GET", "/v1/entitlements/{entitlement}"),
    Request("GET", "/v1/entitlements/{entitlement}/grants", query={"includeVoided": "true"}),
    Request("POST", "/v1/entitlements/{entitlement}/grants", {"amount": 1, "idempotencyKey": _key}),
    Request(
        "POST",
        "/v1/entitlements/{entitlement}/grants/purchase",
        {"amount": 1, "price": "5.00", "idempotencyKey": _key},
    ),
    Request("GET", "/v1/entitlements/{entitlement}/grants/{grant}"),
    # From here on things are used up.
    Request("POST", "/v0/disputes/{dispute}/decline", {"message": "A"}),
    Request("POST", "/v0/disputes/{dispute}/accept", {"message": "A"}, status=(409,)),
    Request("DELETE", "/v0/wallets/{wallet}/credits/{lot}"),
    Request("DELETE", "/v0/customers/{customer}/paymentMethods/{method}", status=(204,)),
    Request("POST", "/v0/payments/{payment}/cancel"),
    Request("DELETE", "/v0/paymentLinks/{link}", status=(204,)),
    Request("DELETE", "/v0/testClocks/{clock}"),
    Request("POST", "/v0/customers/authorization/{authorization}/revoke"),
    Request("DELETE", "/v0/alerts/{alert}", status=(204,)),
    Request("PATCH", "/v0/withdrawals/{withdrawal}", {"status": "paid", "reference": "A"}),
    Request("DELETE", "/v0/coupons/{coupon}", status=(204,)),
    Request("DELETE", "/v0/webhooks/{webhook}", status=(204,)),
    Request("POST", "/v0/usage/{event}/amend", {"reason": "A", "metadata": {"job": "8"}}),
    Request("GET", "/v0/usage/{event}/corrections"),
    Request("POST", "/v0/usage/{event}/void", {"reason": "A"}),
    Request("PATCH", "/v0/usage/{event}", {"refunded": True}, status=(422,)),  # what was voided cannot be refunded
    Request("DELETE", "/v1/entitlements/{entitlement}/grants/{grant}"),
    Request("DELETE", "/v1/entitlements/{entitlement}"),
    Request("POST", "/v0/entitlements/{reservation}/release"),
    Request("DELETE", "/v0/budgets/{budget}", status=(204,)),
    Request(
        "POST",
        "/v0/subscriptions/{subscription}/planChanges",
        {"planId": Id("other_plan"), "effective": "period_end"},
    ),
    Request("POST", "/v0/subscriptions/{subscription}/termination", {"reason": "A"}),
    Request("DELETE", "/v0/plans/{plan}", status=(204,)),
    Request("POST", "/v0/plans/{plan}/unarchive"),
    Request("DELETE", "/v0/customers/{customer}", status=(204, 409)),
]
