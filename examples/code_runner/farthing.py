"""The four calls a seller makes to Farthing: reserve before the work, report after it, release, and link to the portal.

Every call is safe to repeat: it carries a key chosen by the caller, and Farthing answers a repeated key with the first
answer. So a timeout is no problem: the same call is sent again until it is answered.
"""

import asyncio
import logging
import random
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

ATTEMPTS_MAX = 5
PAUSE_SECONDS_MIN, PAUSE_SECONDS_MAX = 0.2, 10.0
REQUEST_SECONDS_MAX = 10.0
# The request did not take effect, or nobody knows; anything else below 500 is an answer and final.
WORTH_REPEATING = {408, 425, 429, 500, 502, 503, 504}

log = logging.getLogger(__name__)

Json = dict[str, Any]


class Refused(Exception):
    """Farthing answered, and the answer is no."""

    def __init__(self, status: int, code: str, message: str, details: Json) -> None:
        super().__init__(f"{status} {code}: {message}")
        self.status, self.code, self.message, self.details = status, code, message, details


class Unreachable(Exception):
    """No answer after every attempt: the call may or may not have taken effect."""


@dataclass(frozen=True, slots=True)
class PortalLink:
    """Where a customer can see the account and top it up, for as long as it lasts."""

    url: str
    expires_at: datetime


def connect(*, url: str, api_key: str) -> httpx.AsyncClient:
    """This will make the HTTP client for a Farthing server; close it when done."""
    return httpx.AsyncClient(
        base_url=url,
        headers={"Authorization": f"Bearer {api_key}"},
        timeout=httpx.Timeout(REQUEST_SECONDS_MAX, connect=3.0),
    )


class Farthing:
    """The billing system, as this seller needs it."""

    def __init__(self, http: httpx.AsyncClient) -> None:
        self._http = http

    async def reserve(self, *, key: str, body: Json) -> Json:
        """This will hold the most that a piece of work can cost; raises Refused (402: no funds) or Unreachable."""
        return await self._post("/v0/entitlements", body, key)

    async def report(self, *, body: Json) -> Json:
        """This will charge measured usage; the key is in the body, because it belongs to the event for ever."""
        return await self._post("/v0/usage", body)

    async def release(self, *, reservation_id: str) -> None:
        """This will give back what is still held; doing so twice, or after the reservation ended, changes nothing."""
        try:
            await self._post(f"/v0/entitlements/{reservation_id}/release", {}, f"release-{reservation_id}")
        except Refused as refusal:
            if refusal.status not in (404, 409):
                raise

    async def portal_link(self, *, subscription_id: str) -> PortalLink:
        """This will make a link that lets the customer top up without a login."""
        answer = await self._post(f"/v0/subscriptions/{subscription_id}/portal", {"expiresIn": "PT1H"})
        return PortalLink(url=answer["url"], expires_at=datetime.fromisoformat(answer["expiresAt"]))

    async def _post(self, path: str, body: Json, key: str | None = None) -> Json:
        headers = {"Idempotency-Key": key} if key else {}
        problem, pause = "", 0.0
        for attempt in range(ATTEMPTS_MAX):
            await asyncio.sleep(pause)
            try:
                response = await self._http.post(path, json=body, headers=headers)
            except httpx.TransportError as error:
                problem, retry_after = repr(error), ""
            else:
                if response.status_code not in WORTH_REPEATING:
                    return _answer(response)
                problem, retry_after = f"status {response.status_code}", response.headers.get("Retry-After", "")
            log.warning("POST %s: %s (attempt %d of %d)", path, problem, attempt + 1, ATTEMPTS_MAX)
            pause = _pause(attempt, retry_after)
        raise Unreachable(f"POST {path}: {problem}")


def _pause(attempt: int, retry_after: str) -> float:
    if retry_after.isdigit():
        return min(float(retry_after), PAUSE_SECONDS_MAX)
    # Half fixed, half chance: many sellers that failed together should not come back together.
    longest = min(PAUSE_SECONDS_MIN * 2.0**attempt, PAUSE_SECONDS_MAX)
    return longest * (0.5 + random.random() / 2)  # noqa: S311  no secret


def _answer(response: httpx.Response) -> Json:
    try:
        body: Json = response.json()
    except ValueError:
        body = {}
    if response.is_success:
        return body
    message = str(body.get("message", response.text[:200]))
    raise Refused(response.status_code, str(body.get("code", "")), message, body.get("details") or {})
