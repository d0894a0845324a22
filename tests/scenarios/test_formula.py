"""A computed price over HTTP: tried, saved, reserved, charged from what events say, refused, corrected, proven."""

from datetime import UTC, datetime
from typing import Any

import pytest
from django.core.management import call_command

from tests import callers, tenants
from tests.tenants import Belongings, Request

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]

FORMULA = {
    "formula": "(data.input * 0.15 + data.output * 0.60) / 1000000 * {'small': 1, 'large': 15}[data.model]"
    " * (metadata.plan == 'team' ? 0.5 : 1)",
    "maxAmount": "5",
}
LARGE = {"model": "large", "input": 1200, "output": 300}


def event(**members: Any) -> dict[str, Any]:
    said = {"type": "completion", "source": "api", "subject": tenants.Id("customer"), "data": LARGE}
    return {**said, "metadata": {"plan": "solo"}, **members}


def test_a_price_is_computed_from_what_each_event_says(served_url: str) -> None:
    seller = callers.caller()
    product_id = callers.product(seller)["id"]
    reads = {"eventType": "completion", "valueExpression": "data.input + data.output", "filter": "data.model != 'free'"}
    metric_id = callers.metric(seller, product_id, unit="token", **reads)["id"]
    tried = {"model": "formula", "properties": FORMULA, "billableMetricId": metric_id}
    sample = {"quantity": 1500, "data": LARGE, "metadata": {"plan": "solo"}}
    price_id = callers.price(seller, metric_id=metric_id, model="formula", properties=FORMULA)["id"]
    plan_id = callers.plan(seller, [price_id])["id"]
    things = {"merchant": seller.merchant_id, "metric": metric_id, **tenants.buyer(seller, plan_id)}
    own = Belongings(seller, things)
    callers.made(seller.post(f"/v0/wallets/{things['wallet']}/topups", {"amount": "100"}))

    def send(method: str, path: str, body: Any = None) -> Any:
        return tenants.sent(served_url, own, Request(method, path, body), {})

    dry = send("POST", "/v0/prices/dryRun", {**tried, "events": [sample]}).json()
    told = send("POST", "/v0/events", event(idempotencyKey="a")).json()
    assert dry["total"] == "0.0054"
    assert told["billing"]["totalAmount"] == 5_400_000
    assert told["properties"] == [{"billableMetricId": metric_id, "quantity": 1500}]
    assert send("POST", "/v0/events", event(data={"model": "free"})).json()["properties"] == []

    unknown = send("POST", "/v0/events", event(idempotencyKey="b", data={**LARGE, "model": "huge"}))
    assert (unknown.status_code, unknown.json()["code"]) == (422, "FORMULA_FAILED")
    assert unknown.json()["details"] == {"index": 0, "field": "properties.0", "line": 1, "column": 79}
    dear = send("POST", "/v0/events", event(idempotencyKey="b", data={**LARGE, "input": 10**7}))
    assert (dear.status_code, dear.json()["code"]) == (422, "FORMULA_OUT_OF_BOUNDS")
    unread = send("POST", "/v0/events", event(idempotencyKey="b", data={}))
    assert (unread.status_code, unread.json()["code"]) == (422, "FILTER_FAILED")
    assert send("POST", "/v0/events", event(idempotencyKey="b")).status_code == 202  # none of them burnt the key

    usage = {"merchantId": tenants.Id("merchant"), "customerId": tenants.Id("customer"), "idempotencyKey": "c"}
    usage |= {"timestamp": datetime.now(UTC).isoformat()}
    usage |= {"properties": [{"billableMetricId": tenants.Id("metric"), "quantity": 1}]}
    assert send("POST", "/v0/usage", usage).json()["code"] == "FORMULA_FAILED"  # there are no data
    line = {"billableMetricId": tenants.Id("metric"), "quantity": 1_000_000}
    holds = {"merchantId": tenants.Id("merchant"), "customerId": tenants.Id("customer"), "entitlementData": [line]}
    assert send("POST", "/v0/entitlements", {**holds, "maxUses": 3}).json()["grantedAmount"] == "15000000002"

    amended = send("POST", f"/v0/usage/{told['id']}/amend", {"reason": "A team", "metadata": {"plan": "team"}}).json()
    assert amended["correction"]["billing"]["totalAmount"] == -2_700_000
    voided = send("POST", f"/v0/usage/{told['id']}/void", {"reason": "Never happened"}).json()
    assert voided["correction"]["billing"]["totalAmount"] == -2_700_000
    call_command("run_jobs", "--once")
    call_command("verify", "--wait", "0")
