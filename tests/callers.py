"""Who calls the API in a test: an HTTP client with a key of one merchant."""

import json
from dataclasses import dataclass
from typing import Any

from django.http import HttpResponse
from django.test import Client

from merchants import audit, ids, keys
from merchants.models import Merchant
from tests import factories


@dataclass
class Caller:
    """A merchant's server: every request carries its key."""

    merchant: Merchant
    secret: str

    @property
    def merchant_id(self) -> str:
        """The public id of the merchant."""
        return ids.text("org", self.merchant.id)

    def get(self, path: str, query: dict[str, Any] | None = None, **headers: str) -> HttpResponse:
        return self._client().get(path, query, headers=self._headers(headers))

    def post(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        return self.send("POST", path, body, **headers)

    def patch(self, path: str, body: Any = None, **headers: str) -> HttpResponse:
        return self.send("PATCH", path, body, **headers)

    def delete(self, path: str, **headers: str) -> HttpResponse:
        return self._client().delete(path, headers=self._headers(headers))

    def send(self, method: str, path: str, body: Any = None, **headers: str) -> HttpResponse:
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
