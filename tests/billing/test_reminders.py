"""Reminders before renewals: as asked for, once a period, to whoever owes something."""

from datetime import datetime, timedelta
from typing import Any

import pytest

from billing import reminders
from billing.models import Subscription
from customers.models import Customer
from merchants.models import Mail
from tests import factories
from tests.billing import buyers
from tests.billing.buyers import Buyer, utc

pytestmark = pytest.mark.django_db

START = utc(2026, 11, 1)
END = utc(2026, 12, 1)


def subscribed(fee: bool = True, **subscription: Any) -> Buyer:
    product = factories.product(merchant=factories.merchant())
    of = {"fee": factories.fee(product=product)} if fee else {"metric": factories.metric(product=product)}
    price = factories.price(**of, unit_price="20", cadence="P1M" if fee else None)
    return buyers.buyer(price, at=START, subscription=subscription)


def remind(at: datetime) -> list[Mail]:
    reminders.remind_due(at, 100)
    return list(Mail.objects.filter(template="renewal_reminder"))


class TestRemind:
    def test_tells_of_the_plan_the_day_and_the_fees(self) -> None:
        buyer = subscribed()
        [mail] = remind(END - timedelta(days=2))
        assert mail.subject.endswith("renews on 1 December 2026")
        assert mail.recipient == Customer.objects.get(id=buyer.subscription.customer_id).email
        assert "20.00 USD" in mail.text
        assert "/portal/c/" in mail.text
        assert "List-Unsubscribe" in mail.headers

    def test_comes_as_long_before_as_the_plan_says_and_once(self) -> None:
        subscribed()
        assert not remind(END - timedelta(days=3, seconds=1))
        assert len(remind(END - timedelta(days=3))) == 1
        assert len(remind(END - timedelta(days=1))) == 1

    def test_comes_as_long_before_as_the_subscription_says(self) -> None:
        subscribed(renewal_reminder_days=10)
        assert not remind(END - timedelta(days=11))
        assert remind(END - timedelta(days=10))

    def test_does_not_come_where_it_is_switched_off(self) -> None:
        subscribed(renewal_reminder_enabled=False)
        assert not remind(END - timedelta(days=1))

    def test_does_not_come_to_whoever_pays_for_use_alone(self) -> None:
        subscribed(fee=False)
        assert not remind(END - timedelta(days=1))

    def test_does_not_come_to_whoever_stopped_it(self) -> None:
        buyer = subscribed()
        stopped = Customer.objects.filter(id=buyer.subscription.customer_id)
        stopped.update(notification_settings={"renewalReminder": False})
        assert not remind(END - timedelta(days=1))

    def test_comes_to_the_others_where_one_cannot_be_written(self, monkeypatch: pytest.MonkeyPatch) -> None:
        first, second = subscribed(), subscribed()
        write = reminders._remind

        def fail_for_first(subscription: Subscription, now: datetime) -> None:
            if subscription.id == first.subscription.id:
                raise ValueError("no such thing")
            write(subscription, now)

        monkeypatch.setattr(reminders, "_remind", fail_for_first)
        [mail] = remind(END - timedelta(days=2))
        assert mail.merchant_id == second.merchant.id
        monkeypatch.undo()
        assert len(remind(END - timedelta(days=2))) == 2

    def test_does_not_come_before_an_end(self) -> None:
        subscribed(ending_at=END)
        assert not remind(END - timedelta(days=1))
