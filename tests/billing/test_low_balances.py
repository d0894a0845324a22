"""Little in a wallet: alerts tell once until it has recovered, and automatic top-up adds, one at a time."""

from datetime import timedelta
from typing import Any

import pytest
from django.db import connection

from billing import alerts, auto_top_ups, low_balances, settlement, topups, watching
from billing.alerts import NewAlert
from billing.auto_top_ups import Terms
from billing.models import AutoTopUp, LowWallet, PaymentMethod, TopUp, Wallet, WalletAlert
from billing.payments import attempts
from merchants import ids
from merchants.audit import SYSTEM
from merchants.errors import NotFound, Unprocessable, ValidationFailed
from merchants.models import Event, Mail
from tests import factories, parallel
from tests.billing import buyers
from tests.billing.buyers import NOW, Buyer
from tests.billing.settled import DOLLAR, new_buyer, use

HOUR = timedelta(hours=1)
pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def buyer() -> Buyer:
    return new_buyer(balance="10")


def watched(buyer: Buyer, threshold: int = 5 * DOLLAR, **options: Any) -> WalletAlert:
    new = NewAlert(threshold=threshold, **options)
    return alerts.create(merchant_id=buyer.merchant.id, wallet_id=buyer.prepaid.id, new=new, actor=SYSTEM)


def card(buyer: Buyer, token: str = "test_success") -> PaymentMethod:
    """A saved card that does what its name says; the newest is charged."""
    PaymentMethod.objects.filter(customer_id=buyer.customer.id).update(is_default=False)
    return PaymentMethod.objects.create(
        bucket=buyer.bucket,
        id=ids.new(buyer.bucket),
        customer_id=buyer.customer.id,
        merchant_id=buyer.merchant.id,
        provider="test",
        provider_ref=token,
        kind="card",
        is_default=True,
        created_at=NOW,
    )


def agreed(buyer: Buyer, **terms: Any) -> AutoTopUp:
    wanted = Terms(**{"amount": 20 * DOLLAR, "threshold": 5 * DOLLAR, **terms})
    return auto_top_ups.agree(merchant_id=buyer.merchant.id, wallet_id=buyer.prepaid.id, terms=wanted, actor=SYSTEM)


def spend(buyer: Buyer, dollars: int, at: timedelta = timedelta(0)) -> None:
    """Use something, settle it, and let what was marked be looked at."""
    buyer.set_clock(NOW + at)
    use(buyer, 2 * dollars)
    settlement.settle_due(buckets=buyers.EVERYWHERE, now=NOW + at)
    low_balances.look_due()


def later(buyer: Buyer, at: timedelta) -> None:
    buyer.set_clock(NOW + at)
    watching.mark_due(now=NOW + at)
    low_balances.look_due()


def told() -> int:
    return Event.objects.filter(type="wallet.low_balance.v0").count()


def stopped(buyer: Buyer) -> str | None:
    """Why pages say that automatic top-up was switched off, if they do."""
    why: str | None = auto_top_ups.with_stopped(Wallet.objects.filter(id=buyer.prepaid.id)).get().stopped_for
    return why


def autos() -> list[str]:
    return list(TopUp.objects.filter(is_auto=True).order_by("created_at", "id").values_list("status", flat=True))


class TestMarks:
    def test_are_made_where_settlement_leaves_little_and_nowhere_else(self, buyer):
        other = new_buyer(balance="10")
        watched(buyer)
        for each in (buyer, other):
            use(each, 12)
        settlement.settle_due(buckets=buyers.EVERYWHERE, now=NOW)
        assert list(LowWallet.objects.values_list("wallet_id", flat=True)) == [buyer.prepaid.id]
        low_balances.look_due()
        assert not LowWallet.objects.exists()

    def test_are_made_where_reservations_leave_little(self, buyer):
        watched(buyer)
        Wallet.objects.filter(id=buyer.prepaid.id).update(held=6 * DOLLAR)
        later(buyer, timedelta(0))
        assert told() == 1


class TestAlert:
    def test_tells_once_and_again_after_the_wallet_recovered(self, buyer):
        alert = watched(buyer, notify_period=HOUR, recipients=("ops@example.com",))
        spend(buyer, 6)
        spend(buyer, 1)
        assert told() == 1
        mails = {mail.recipient: mail for mail in Mail.objects.filter(template="low_balance")}
        assert set(mails) == {buyer.customer.email, "ops@example.com"}
        assert "/portal/c/" in mails[buyer.customer.email].text
        assert "/portal/c/" not in mails["ops@example.com"].text  # it opens the customer's own pages
        buyer.top_up("10")
        spend(buyer, 9, at=2 * HOUR)
        assert told() == 2
        alert.refresh_from_db()
        assert alert.last_notified_at == NOW + 2 * HOUR
        event = Event.objects.filter(type="wallet.low_balance.v0").first()
        assert event is not None
        assert '"available":"4.00","threshold":"5.00"' in event.body

    def test_says_nothing_more_within_its_period_but_does_not_forget(self, buyer):
        watched(buyer, notify_period=HOUR)
        spend(buyer, 6)
        buyer.top_up("10")
        spend(buyer, 10)
        assert told() == 1
        later(buyer, HOUR / 2)
        assert told() == 1
        later(buyer, HOUR)
        assert told() == 2

    def test_does_not_tell_late_of_what_has_recovered(self, buyer):
        watched(buyer, notify_period=HOUR)
        spend(buyer, 6)
        buyer.top_up("10")
        spend(buyer, 10)
        buyer.top_up("10")
        later(buyer, HOUR)
        assert told() == 1

    def test_is_armed_again_by_what_is_given_back(self, buyer):
        watched(buyer, notify_period=timedelta(seconds=1))
        event = use(buyer, 12)[0]
        settlement.settle_due(buckets=buyers.EVERYWHERE, now=NOW)
        low_balances.look_due()
        buyer.refund(event)
        later(buyer, HOUR)
        spend(buyer, 6, at=HOUR)
        assert told() == 2

    def test_tells_at_once_where_little_is_left_already(self, buyer):
        spend(buyer, 6)
        watched(buyer)
        low_balances.look_due()
        assert told() == 1

    def test_that_is_switched_off_or_deleted_is_silent(self, buyer):
        off = watched(buyer, enabled=False)
        gone = watched(buyer)
        alerts.delete(merchant_id=buyer.merchant.id, alert_id=gone.id, actor=SYSTEM)
        assert buyer.prepaid.watched_below is None
        spend(buyer, 6)
        assert told() == 0
        alerts.change(merchant_id=buyer.merchant.id, alert_id=off.id, changes={"enabled": True}, actor=SYSTEM)
        low_balances.look_due()
        assert told() == 1

    def test_has_one_effect_for_four_who_look_at_once(self, buyer):
        watched(buyer)
        use(buyer, 12)
        settlement.settle_due(buckets=buyers.EVERYWHERE, now=NOW)
        parallel.run(4, lambda _: low_balances.look(buyer.bucket, buyer.prepaid.id, buyer.customer.id))
        assert told() == 1

    def test_refuses_a_credit_wallet_and_hides_other_merchants(self, buyer):
        new = NewAlert(threshold=1)
        with pytest.raises(Unprocessable):
            alerts.create(merchant_id=buyer.merchant.id, wallet_id=buyer.credit.id, new=new, actor=SYSTEM)
        alert = watched(buyer)
        with pytest.raises(NotFound):
            alerts.delete(merchant_id=factories.merchant().id, alert_id=alert.id, actor=SYSTEM)


class TestAutomaticTopUp:
    def test_adds_its_amount_when_little_is_left(self, buyer):
        card(buyer)
        agreed(buyer)
        spend(buyer, 4)
        assert autos() == []
        spend(buyer, 2)
        assert autos() == ["success"]
        assert buyer.prepaid.available == 24 * DOLLAR
        said = Event.objects.filter(type="topup.succeeded.v0").values_list("body", flat=True)
        assert ['"isAutoTopup":true' in body for body in said].count(True) == 1
        assert all('"status":"success"' in body for body in said)  # as GET says it

    def test_adds_again_while_too_little_is_left(self, buyer):
        card(buyer)
        agreed(buyer, amount=DOLLAR)
        spend(buyer, 7)
        assert autos() == ["success", "success"]
        assert buyer.prepaid.available == 5 * DOLLAR

    def test_is_one_at_a_time(self, buyer):
        card(buyer, "test_processing_success")
        agreed(buyer)
        spend(buyer, 6)
        spend(buyer, 1)
        later(buyer, HOUR)
        assert autos() == ["pending"]
        with pytest.raises(Exception, match="one_automatic_top_up_at_a_time"):
            topups.write(buyer.prepaid, amount=DOLLAR, method="auto", is_auto=True, now=NOW)

    def test_is_made_once_by_four_who_look_at_once(self, buyer):
        card(buyer)
        agreed(buyer)
        use(buyer, 12)
        settlement.settle_due(buckets=buyers.EVERYWHERE, now=NOW)
        parallel.run(4, lambda _: low_balances.look(buyer.bucket, buyer.prepaid.id, buyer.customer.id))
        assert autos() == ["success"]

    def test_is_not_made_where_somebody_was_quicker(self, buyer):
        card(buyer)
        agreed(buyer)
        use(buyer, 12)
        settlement.settle_due(buckets=buyers.EVERYWHERE, now=NOW)
        buyer.top_up("10")
        low_balances.look_due()
        assert autos() == []

    def test_goes_on_after_a_crash_before_the_provider_was_asked(self, buyer, monkeypatch):
        card(buyer)
        agreed(buyer)

        def die(made: TopUp) -> TopUp:
            raise KeyboardInterrupt

        with monkeypatch.context() as patched:
            patched.setattr(topups, "pay", die)
            with pytest.raises(KeyboardInterrupt):
                spend(buyer, 6)
        assert autos() == ["pending"]
        later(buyer, HOUR)
        assert autos() == ["pending"]
        topups.pay(TopUp.objects.get(is_auto=True))  # as whoever looks after payments does
        assert autos() == ["success"]

    def test_keeps_within_the_limit_of_a_period_of_the_merchants_zone(self, buyer):
        organization = buyer.merchant.organization
        organization.timezone = "Asia/Tokyo"  # NOW is nine in the evening there: the day ends in three hours
        organization.save()
        card(buyer)
        agreed(buyer, amount=2 * DOLLAR, limit_amount=5 * DOLLAR, limit_period="day")
        spend(buyer, 9)
        assert autos() == ["success"] * 2
        later(buyer, timedelta(hours=2, minutes=59))
        assert autos() == ["success"] * 2
        later(buyer, timedelta(hours=3))
        assert autos() == ["success"] * 2  # five dollars are there: nothing is to be done
        spend(buyer, 2, at=timedelta(hours=3))
        assert autos() == ["success"] * 3

    def test_waits_after_a_decline_and_gives_up_after_three(self, buyer):
        card(buyer, "test_decline")
        made = agreed(buyer)
        spend(buyer, 6)
        spend(buyer, 1)
        assert autos() == ["failed"]
        later(buyer, HOUR)
        assert autos() == ["failed"] * 2
        later(buyer, 2 * HOUR)
        assert autos() == ["failed"] * 2
        later(buyer, 7 * HOUR)
        made.refresh_from_db()
        assert (autos(), made.enabled, made.deactivation_reason) == (["failed"] * 3, False, "payment_failed")
        assert Event.objects.filter(type="auto_topup.deactivated.v0").count() == 1
        mail = Mail.objects.get(template="auto_topup_stopped")
        assert (mail.recipient, stopped(buyer)) == (buyer.customer.email, "payment_failed")
        for words in ("declined three times in a row", "20.00 USD below 5.00 USD", "3.00 USD", "/portal/c/"):
            assert words in mail.text
        later(buyer, timedelta(days=2))
        assert len(autos()) == 3
        card(buyer)
        agreed(buyer)
        low_balances.look_due()
        made.refresh_from_db()
        assert (autos()[-1], made.enabled, made.deactivated_at) == ("success", True, None)
        assert (Mail.objects.filter(template="auto_topup_stopped").count(), stopped(buyer)) == (1, None)

    def test_forgets_declines_after_a_success(self, buyer):
        card(buyer, "test_decline")
        made = agreed(buyer)
        spend(buyer, 6)
        card(buyer)
        later(buyer, HOUR)
        made.refresh_from_db()
        assert (autos(), made.failures) == (["failed", "success"], 0)

    def test_counts_as_declined_what_asks_for_the_payer(self, buyer):
        card(buyer, "test_3ds")
        made = agreed(buyer)
        spend(buyer, 6)
        made.refresh_from_db()
        assert (autos(), made.failures) == (["cancelled"], 1)

    def test_is_switched_off_where_the_card_is_gone(self, buyer):
        method = card(buyer)
        made = agreed(buyer, method_id=method.id)
        PaymentMethod.objects.update(is_default=False, deleted_at=NOW)
        spend(buyer, 6)
        made.refresh_from_db()
        assert (autos(), made.enabled, made.deactivation_reason) == ([], False, "no_payment_method")
        assert "no card is saved" in Mail.objects.get(template="auto_topup_stopped").text
        agreed(buyer, enabled=False)  # left off by who may: nobody needs to be reminded of it
        assert stopped(buyer) is None

    @pytest.mark.parametrize(
        "terms",
        [
            {"amount": 0},
            {"amount": DOLLAR // 1000},
            {"threshold": 0},
            {"limit_amount": DOLLAR, "limit_period": "day"},
            {"limit_amount": 99 * DOLLAR},
        ],
    )
    def test_refuses_terms_that_cannot_be(self, buyer, terms):
        card(buyer)
        with pytest.raises(ValidationFailed):
            agreed(buyer, **terms)

    def test_refuses_where_there_is_no_card(self, buyer):
        with pytest.raises(Unprocessable):
            agreed(buyer)
        with pytest.raises(NotFound):
            agreed(buyer, method_id=card(new_buyer()).id)

    def test_leaves_no_transaction_open_while_the_provider_is_asked(self, buyer, monkeypatch):
        card(buyer)
        agreed(buyer)
        seen = []
        ask = attempts._ask
        monkeypatch.setattr(attempts, "_ask", lambda *asked: seen.append(connection.in_atomic_block) or ask(*asked))
        spend(buyer, 6)
        assert seen == [False]


class TestClosed:
    def test_customers_wallets_are_not_watched_any_more(self, buyer):
        card(buyer)
        agreed(buyer)
        spend(buyer, 4)
        from customers.models import Book

        Book.objects.filter(customer_id=buyer.customer.id).update(closed_at=NOW)
        use(buyer, 4)
        settlement.settle_due(buckets=buyers.EVERYWHERE, now=NOW)
        low_balances.look_due()
        assert (autos(), buyer.prepaid.watched_below) == ([], None)
