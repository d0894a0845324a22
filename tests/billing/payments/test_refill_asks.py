"""Customers without a saved card, asked for what a wallet lacks as their subscription renews."""

from datetime import timedelta
from typing import Any

import pytest

from billing import policies, subscriptions
from billing.models import PaymentMethod, PaymentSession, Subscription, TopUp
from billing.payments import attempts, refills, sessions
from merchants import audit
from merchants.models import Event, Mail
from tests import parallel
from tests.billing.buyers import Buyer
from tests.billing.invoiced import FEBRUARY, MARCH, START, pass_time
from tests.billing.owing import broken
from tests.billing.payments import sellers
from tests.billing.payments.test_refills import NANOS, buyer, charged

pytestmark = pytest.mark.django_db(transaction=True)


def asked() -> PaymentSession:
    return PaymentSession.objects.exclude(renewal_of=None).latest("created_at")


def mails() -> list[str]:
    sent = Mail.objects.filter(template__startswith="refill_").order_by("created_at")
    return list(sent.values_list("template", flat=True))


def remind(made: Buyer, **after: float) -> list[str]:
    """Let time pass since the renewal, and remind of what is due; returns what was written about it by then."""
    now = FEBRUARY + timedelta(**after)
    made.set_clock(now)
    refills.remind_due(now, limit=10)
    return mails()


class TestAsking:
    def test_is_for_the_gap_once_by_an_address_that_takes_the_payment(self) -> None:
        made = buyer(None)
        pass_time(made, FEBRUARY)
        pass_time(made, FEBRUARY + timedelta(hours=1))
        session = asked()
        assert (session.amount, session.expires_at, session.saves_method) == (5 * NANOS, MARCH, True)
        mail = Mail.objects.get(template="refill_needed")
        assert mail.recipient == made.customer.email
        for words in ("5.00 USD", "20.00 USD", sessions.url(session)):
            assert words in mail.text
        sellers.pay(session)
        assert (sellers.fresh(session).status, made.prepaid.available) == ("completed", 20 * NANOS)
        assert remind(made, days=30) == ["refill_needed"]
        assert broken() == set()

    def test_is_reminded_of_on_the_merchants_days_until_it_is_paid(self) -> None:
        made = buyer(None)
        policies.change(
            merchant_id=made.merchant.id, changes={"reminder_days": [-2, 3, 10]}, actor=audit.SYSTEM, now=START
        )
        pass_time(made, FEBRUARY)
        assert remind(made, days=2) == ["refill_needed"]
        assert remind(made, days=3) == remind(made, days=3, hours=1) == ["refill_needed", "refill_reminder"]
        sellers.pay(asked(), sellers.DECLINED)
        assert remind(made, days=10) == ["refill_needed", "refill_reminder", "refill_reminder"]
        assert remind(made, days=20) == remind(made, days=10)
        sellers.pay(asked())
        assert made.prepaid.available == 20 * NANOS

    def test_reminds_the_others_where_one_cannot_be_written_to(self, monkeypatch: pytest.MonkeyPatch) -> None:
        several = [buyer(None), buyer(None)]
        for made in several:
            pass_time(made, FEBRUARY)
            made.set_clock(FEBRUARY + timedelta(days=3))
        write = refills._write

        def fail_for_first(template: str, subscription: Subscription, *more: Any) -> None:
            if subscription.id == several[0].subscription.id:
                raise ValueError("no such thing")
            write(template, subscription, *more)

        monkeypatch.setattr(refills, "_write", fail_for_first)
        refills.remind_due(FEBRUARY + timedelta(days=3), limit=10)
        assert Mail.objects.get(template="refill_reminder").merchant_id == several[1].merchant.id

    def test_is_over_when_as_much_comes_in_otherwise(self) -> None:
        made = buyer(None)
        pass_time(made, FEBRUARY)
        made.top_up("4")
        assert asked().status == "pending"
        made.top_up("1")
        assert (asked().status, TopUp.objects.get(method="renewal").status) == ("cancelled", "cancelled")
        assert remind(made, days=3) == ["refill_needed"]

    def test_is_over_with_the_subscription(self) -> None:
        made = buyer(None)
        pass_time(made, FEBRUARY)
        subscriptions.terminate(merchant_id=made.merchant.id, subscription_id=made.subscription.id, reason="done")
        assert asked().status == "cancelled"

    def test_is_made_anew_at_the_next_renewal_or_left_to_the_card_that_is_saved_by_then(self) -> None:
        made = buyer(None)
        pass_time(made, FEBRUARY)
        first = asked()
        pass_time(made, MARCH)
        assert (sellers.fresh(first).status, asked().amount, len(mails())) == ("cancelled", 15 * NANOS, 2)
        saved = PaymentMethod.objects.create(
            bucket=made.bucket, id=made.customer.id, customer_id=made.customer.id, merchant_id=made.merchant.id,
            provider="test", provider_ref="test_success", kind="card", last4="4242", is_default=True, created_at=START,
        )  # fmt: skip
        pass_time(made, MARCH + timedelta(days=30))
        assert ([each.method_id for each in charged()], asked().status) == ([saved.id], "cancelled")

    def test_is_for_what_a_declined_card_was_to_pay_with_the_reason_and_the_next_try(self) -> None:
        made = buyer("test_decline")
        pass_time(made, FEBRUARY)
        attempts.submit(charged()[0])
        session, mail = asked(), Mail.objects.get(template="refill_declined")
        for words in ("5.00 USD", "The card was declined.", sessions.url(session), "charge what it lacks on: 31 March"):
            assert words in mail.text
        assert Event.objects.filter(type="topup.failed.v0").count() == 1
        sellers.pay(session, sellers.DECLINED)
        assert remind(made, days=3) == ["refill_declined", "refill_reminder"]
        sellers.pay(asked())
        assert (sellers.fresh(session).status, made.prepaid.available) == ("completed", 20 * NANOS)
        assert broken() == set()

    def test_is_not_for_a_declined_card_where_enough_came_in_meanwhile(self) -> None:
        made = buyer("test_decline")
        pass_time(made, FEBRUARY)
        made.top_up("5")
        attempts.submit(charged()[0])
        assert mails() == []

    def test_reminds_once_where_four_look_at_once(self) -> None:
        made = buyer(None)
        pass_time(made, FEBRUARY)
        now = FEBRUARY + timedelta(days=3)
        made.set_clock(now)
        parallel.run(4, lambda _: refills.remind_due(now, limit=10))
        assert mails() == ["refill_needed", "refill_reminder"]
