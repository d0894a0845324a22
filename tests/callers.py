"""Who calls the API in a test: an HTTP client with a key of one merchant."""

import json
from dataclasses import dataclass
from typing import Any

from django.test import Client

from merchants import audit, ids, keys
from merchants.models import Merchant
from tests import factories

FULL = ("*", "organization:write")  # what a key has to name is not in everything


@dataclass
class Caller:
    """A merchant's server: every request carries its key."""

    merchant: Merchant
    secret: str

    @property
    def merchant_id(self) -> str:
        """The public id of the merchant."""
        return ids.text("org", self.merchant.id)

    def get(self, path: str, query: dict[str, Any] | None = None, **headers: str) -> Any:
        return self._client().get(path, query, headers=self._headers(headers))

    def post(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> Any:
        return self.send("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> Any:
        return self._client().delete(path, headers=self._headers(headers))

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> Any:
        """Send JSON, or bytes as they are; ``Idempotency_Key="a"`` is a header."""
        content = body if isinstance(body, bytes) else json.dumps({} if body is None else body).encode()
        content_type = headers.pop("Content_Type", "application/json")
        client = self._client()
        return client.generic(method, path, content, content_type=content_type, headers=self._headers(headers))

    def _client(self) -> Client:
        return Client(raise_request_exception=False)

    def _headers(self, headers: dict[str, str]) -> dict[str, str]:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return {"Authorization": f"Bearer {self.secret}", **named}


def caller(*scopes: str, merchant: Merchant | None = None) -> Caller:
    """A caller with a fresh key, of a merchant of its own unless one is given; all scopes unless some are given."""
    merchant = merchant or factories.merchant()
    issued = keys.create(merchant=merchant, name="Test", scopes=scopes or ["*"], actor=audit.SYSTEM, now=factories.NOW)
    return Caller(merchant, issued.secret)


# --- what a seller needs before it can sell, made over HTTP ----------------------------------------------


def made(answer: Any) -> dict[str, Any]:
    """The object that a request created; anything but 201 fails the test with what was said."""
    assert answer.status_code == 201, answer.content
    body: dict[str, Any] = answer.json()
    return body


def product(seller: Caller, **members: Any) -> dict[str, Any]:
    """A product."""
    body = {"merchantId": seller.merchant_id, "name": "Inference", "description": "Answers", **members}
    return made(seller.post("/v0/products", body))


def metric(seller: Caller, product_id: str, **members: Any) -> dict[str, Any]:
    """A metric that sums requests."""
    body = {"name": "Requests", "description": "Calls", "unit": "request", "aggregation": "SUM", **members}
    named = {"merchantId": seller.merchant_id, "productId": product_id}
    return made(seller.post("/v0/billableMetrics", {**named, **body}))


def fee(seller: Caller, product_id: str, **members: Any) -> dict[str, Any]:
    """A fee."""
    body = {"name": "Platform", "description": "For being here", **members}
    return made(seller.post("/v0/fees", {"merchantId": seller.merchant_id, "productId": product_id, **body}))


def price(seller: Caller, *, metric_id: str | None = None, fee_id: str | None = None, **members: Any) -> dict[str, Any]:
    """A price of a quarter of a cent, drawn at once; for a fee, ten dollars a month in advance."""
    body: dict[str, Any] = {"invoiceDisplayName": "Requests", "model": "standard"}
    if metric_id:
        body |= {"billableMetricId": metric_id, "paymentTerm": "instant", "properties": {"unitPrice": "0.0025"}}
    else:
        body |= {"feeId": fee_id, "paymentTerm": "in_advance", "properties": {"unitPrice": "10"}}
        body["billingCadence"] = "P1M"
    return made(seller.post("/v0/prices", {**body, **members}))


def feature(seller: Caller, product_id: str, **members: Any) -> dict[str, Any]:
    """A feature that is on or off."""
    body = {"merchantId": seller.merchant_id, "productId": product_id, "key": "sso", "name": "Single sign-on"}
    return made(seller.post("/v0/features", {**body, **members}))


def metered_feature(seller: Caller, product_id: str, metric_id: str, **members: Any) -> dict[str, Any]:
    """A feature that meters a metric."""
    named = {"key": "requests", "name": "Requests", "type": "metered", "billableMetricId": metric_id}
    return feature(seller, product_id, **{**named, **members})


def metered_template(amount: Any = 1000, **members: Any) -> dict[str, Any]:
    """So many units a month, and no more."""
    return {"type": "metered", "usagePeriod": {"interval": "P1M"}, "issueAfterReset": amount, **members}


def entitle(
    seller: Caller, customer_id: str, feature_id: str, template: dict[str, Any] | None = None, **members: Any
) -> dict[str, Any]:
    """An entitlement, by default to something on or off."""
    body = {"customerId": customer_id, "featureId": feature_id, "template": template or {"type": "boolean"}}
    return made(seller.post("/v1/entitlements", {**body, **members}))


def grant(seller: Caller, entitlement_id: str, amount: Any = 500, **members: Any) -> dict[str, Any]:
    """Units granted."""
    body = {"amount": amount, "idempotencyKey": "grant-1", **members}
    return made(seller.post(f"/v1/entitlements/{entitlement_id}/grants", body))


def plan(seller: Caller, price_ids: list[str], **members: Any) -> dict[str, Any]:
    """A plan in dollars."""
    body = {"merchantId": seller.merchant_id, "name": "Pay as you go", "currency": "USD", "prices": price_ids}
    return made(seller.post("/v0/plans", {**body, **members}))
