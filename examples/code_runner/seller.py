"""The sale: reserve, run, report; release what was held when the run did not take place.

The order of steps is the whole point, and each is written to the journal before the next begins:

1. reserve the most it can cost. No funds: nothing is run, and the customer gets a link to top up.
2. run the program and measure it.
3. report what it took, against the reservation. `final` closes the reservation and returns the rest of it.
4. when the run failed *on our side*, release the reservation: the customer pays for programs that failed, not for us.
"""

import asyncio
import dataclasses
import hashlib
import logging
import time
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Literal

import msgspec

from . import sandbox
from .farthing import Farthing, PortalLink, Refused, Unreachable
from .journal import Journal, Submission
from .settings import TIERS, Buyer, Settings

# A reservation lasts a quarter of an hour. With twenty seconds a run, this many waiting ones cannot outlive theirs.
WAITING_MAX_PER_WORKER = 32
SETTLE_INTERVAL_SECONDS = 1.0
SETTLE_BATCH_MAX = 100
SHUTDOWN_SECONDS_MAX = 25.0
LINK_MARGIN = timedelta(minutes=5)
LINKS_MAX = 10_000

log = logging.getLogger(__name__)

Text = Annotated[str, msgspec.Meta(max_length=64 * 1024)]


class Order(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What a customer asks for: the body of POST /submissions."""

    code: Annotated[str, msgspec.Meta(min_length=1, max_length=64 * 1024)]
    stdin: Text = ""
    tier: Literal["basic", "premium"] = "basic"


class PaymentRequired(Exception):
    """The customer's funds do not cover the reservation."""

    def __init__(self, link: PortalLink | None, details: dict[str, Any]) -> None:
        super().__init__("not enough funds for this submission")
        self.link, self.details = link, details


class KeyReused(Exception):
    """The customer's Idempotency-Key came before, with another request."""


class Busy(Exception):
    """Too many submissions are waiting for a worker."""


class BillingUnavailable(Exception):
    """The reservation could not be made, and not for lack of funds."""


class Seller:
    """Takes orders, has them run and sees to it that each is paid for exactly once."""

    def __init__(self, *, settings: Settings, farthing: Farthing, journal: Journal) -> None:
        self._settings, self._farthing, self._journal = settings, farthing, journal
        self._workers = asyncio.Semaphore(settings.workers)
        self._under_way: dict[str, asyncio.Task[None]] = {}
        self._links: dict[str, PortalLink] = {}
        self._settling: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """This will take up what the last process left behind."""
        log.info("%d submissions are owed to the billing system", self._journal.recover())
        self._settling = asyncio.create_task(self._keep_settling())

    async def stop(self) -> None:
        """This will let the running programs end; what does not make it is settled after the next start."""
        if self._under_way:
            await asyncio.wait(self._under_way.values(), timeout=SHUTDOWN_SECONDS_MAX)
        for task in (*self._under_way.values(), self._settling):
            if task:
                task.cancel()

    async def submit(self, *, buyer: Buyer, order: Order, client_key: str | None) -> Submission:
        """This will reserve funds and start the program, or find the submission that this client key began.

        Raises PaymentRequired, KeyReused, Busy or BillingUnavailable; then nothing is run and nothing stays held.
        """
        fingerprint = hashlib.sha256(msgspec.json.encode(order)).hexdigest()
        if len(self._under_way) >= WAITING_MAX_PER_WORKER * self._settings.workers:
            raise Busy
        submission, new = self._journal.open(
            customer_id=buyer.customer_id,
            client_key=client_key,
            fingerprint=fingerprint,
            tier=order.tier,
            reservation_body=self._reservation(buyer, order.tier),
        )
        if not new:
            if submission.fingerprint != fingerprint:
                raise KeyReused
            return submission
        await self._reserve(submission, buyer)
        task = asyncio.create_task(self._work(submission.id, order))
        self._under_way[submission.id] = task
        task.add_done_callback(lambda _: self._under_way.pop(submission.id))
        return self._found(submission.id)

    async def look(self, *, buyer: Buyer, id: str, wait_seconds: float) -> Submission | None:
        """This will find a customer's submission, after waiting for it to be done if asked to."""
        submission = self._journal.get(id)
        if submission is None or submission.customer_id != buyer.customer_id:
            return None
        if wait_seconds and id in self._under_way:
            await asyncio.wait([self._under_way[id]], timeout=wait_seconds)
        return self._found(id)

    def health(self) -> dict[str, int]:
        """This will count what is under way and what is owed."""
        return {"underWay": len(self._under_way), "owed": self._journal.owed(), "stuck": self._journal.stuck()}

    # --- 1. reserve ------------------------------------------------------------------------------------------

    def _reservation(self, buyer: Buyer, tier: str) -> dict[str, Any]:
        longest = TIERS[tier].wall_seconds * 1000
        return {
            "merchantId": self._settings.merchant_id,
            "customerId": buyer.customer_id,
            "entitlementData": self._quantities(tier, longest),
            "maxUses": 1,
        }

    def _quantities(self, tier: str, milliseconds: int) -> list[dict[str, Any]]:
        return [
            {"billableMetricId": self._settings.tier_metrics[tier], "quantity": 1},
            {"billableMetricId": self._settings.milliseconds_metric, "quantity": milliseconds},
        ]

    async def _reserve(self, submission: Submission, buyer: Buyer) -> None:
        try:
            reservation = await self._farthing.reserve(key=submission.id, body=submission.reservation_body)
            self._journal.reserved(submission.id, reservation_id=reservation["id"])
        except Refused as refusal:
            self._journal.refused(submission.id)
            if refusal.status == 402:
                raise PaymentRequired(await self._link(buyer), refusal.details) from None
            log.error("a reservation for %s was refused: %s", buyer.customer_id, refusal)
            raise BillingUnavailable from refusal
        except BaseException as error:  # also a cancelled request: funds may be held, so they are to be released
            self._journal.abandoned(submission.id, problem=repr(error))
            if isinstance(error, Unreachable):
                raise BillingUnavailable from error
            raise

    async def _link(self, buyer: Buyer) -> PortalLink | None:
        link = self._links.get(buyer.subscription_id)
        if link and datetime.now(UTC) < link.expires_at - LINK_MARGIN:
            return link
        try:
            link = await self._farthing.portal_link(subscription_id=buyer.subscription_id)
        except (Refused, Unreachable) as error:
            log.error("no portal link for %s: %s", buyer.customer_id, error)
            return None  # the answer stays 402, only without a link
        if len(self._links) >= LINKS_MAX:
            self._links.clear()
        self._links[buyer.subscription_id] = link
        return link

    # --- 2. run ----------------------------------------------------------------------------------------------

    async def _work(self, id: str, order: Order) -> None:
        limits, runs = self._settings.limits(order.tier), self._settings.data_directory / "runs"
        try:
            async with self._workers:
                outcome = await sandbox.run(code=order.code, stdin=order.stdin, limits=limits, directory=runs)
        except Exception as error:  # whatever it was, it was not the program: the customer does not pay for it
            log.exception("submission %s was not run", id)
            self._journal.abandoned(id, problem=repr(error))
        else:
            usage = self._usage(self._found(id), outcome.milliseconds)
            self._journal.measured(id, result=dataclasses.asdict(outcome), usage_body=usage)
        await self._settle(id)

    def _usage(self, submission: Submission, milliseconds: int) -> dict[str, Any]:
        return {
            "idempotencyKey": submission.id,
            "customerId": submission.customer_id,
            "merchantId": self._settings.merchant_id,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "properties": self._quantities(submission.tier, milliseconds),
            "entitlementId": submission.reservation_id,
            "metadata": {"submission": submission.id, "tier": submission.tier},
            "final": True,
        }

    # --- 3. report, 4. release -------------------------------------------------------------------------------

    async def _settle(self, id: str) -> bool:
        """This will tell the billing system how a submission ended; false when it cannot be reached now."""
        submission = self._found(id)
        try:
            if submission.usage_body is not None:
                event = await self._farthing.report(body=submission.usage_body)
                billing = event.get("billing") or {}
                self._journal.reported(id, usage_event_id=event["id"], charged_nanos=billing.get("totalAmount"))
            else:
                await self._give_back(submission)
                self._journal.released(id)
        except (Refused, Unreachable) as error:
            log.error("submission %s is not settled yet: %s", id, error)
            self._journal.postpone(id, now=time.time(), problem=str(error))
            return isinstance(error, Refused)
        return True

    async def _give_back(self, submission: Submission) -> None:
        reservation_id = submission.reservation_id
        if reservation_id is None:
            # We never heard whether it was granted. The same key tells: it answers with the first answer, if any.
            try:
                reservation = await self._farthing.reserve(key=submission.id, body=submission.reservation_body)
            except Refused as refusal:
                if refusal.status == 402:
                    return
                raise
            reservation_id = reservation["id"]
        await self._farthing.release(reservation_id=reservation_id)

    async def _keep_settling(self) -> None:
        while True:
            for id in self._journal.due(now=time.time(), limit=SETTLE_BATCH_MAX):
                if id not in self._under_way and not await self._settle(id):
                    break  # no use in asking for the others now
            await asyncio.sleep(SETTLE_INTERVAL_SECONDS)

    def _found(self, id: str) -> Submission:
        submission = self._journal.get(id)
        if submission is None:
            raise LookupError(f"submission {id} is gone")
        return submission
