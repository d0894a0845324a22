"""A merchant with endpoints, and a way to have things happen and be told."""

from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db import transaction

from merchants import outbox
from merchants.audit import SYSTEM
from merchants.models import Delivery, Endpoint, Merchant
from merchants.webhooks import endpoints
from merchants.webhooks.sending import Sender
from tests import factories
from tests.factories import NOW


@dataclass
class Shop:
    """A merchant, a clock and a sender."""

    merchant: Merchant = field(default_factory=factories.merchant)
    now: datetime = NOW
    sender: Sender = field(default_factory=lambda: Sender(16))

    def clock(self) -> datetime:
        """What time it is in this shop."""
        return self.now

    def wait(self, pause: timedelta) -> None:
        """Let time pass."""
        self.now += pause

    def endpoint(self, url: str = "https://hooks.example.com/", **options: Any) -> Endpoint:
        """Add an endpoint."""
        return self.revealed(url, **options).endpoint

    def revealed(self, url: str = "https://hooks.example.com/", **options: Any) -> endpoints.Revealed:
        """Add an endpoint, and see its secret."""
        return endpoints.create(merchant_id=self.merchant.id, url=url, actor=SYSTEM, now=self.now, **options)

    def happens(self, type: str = "customer.created.v0", **data: Any) -> None:
        """Record an event."""
        with transaction.atomic():
            outbox.record(merchant_id=self.merchant.id, type=type, data=data, object_id="cus_1", now=self.now)

    def tell(self) -> int:
        """Send what is due, and wait for it."""
        done = self.sender.run(clock=self.clock, is_time_up=lambda: False)
        self.sender.finish(clock=self.clock)
        return done

    def only(self) -> Delivery:
        """The one delivery there is."""
        return Delivery.objects.get(merchant=self.merchant)
