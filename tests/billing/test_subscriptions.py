"""Subscriptions: agreed once, started when paid for, changed, and ended once."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from billing import endings, invoicing, money, subscription_reads, subscriptions, topups
from billing.models import Charge, Invoice, Plan, Subscription, Wallet
from billing.subscriptions import Agreement, NewSubscription
from customers import registry
from customers.models import Book, Customer
from customers.registry import NewCustomer
from merchants import ids
from merchants.audit import SYSTEM
from merchants.errors import Conflict, NotFound, ValidationFailed
from merchants.models import AuditEntry, Merchant
from tests import factories, parallel

DOLLARS = money.NANOS


@pytest.fixture
def merchant(db: None) -> Merchant:
    return factories.merchant()


@pytest.fixture
def plan(merchant: Merchant) -> Plan:
    return factories.plan(product=factories.product(merchant=merchant))


@pytest.fixture
def customer(merchant: Merchant) -> Customer:
    return factories.customer(merchant=merchant)


def plan_with_fee(merchant: Merchant, amount: str = "50", **version: Any) -> Plan:
    product = factories.product(merchant=merchant)
    fee = factories.price(fee=factories.fee(product=product), unit_price=amount, term="in_advance", cadence="P1M")
    return factories.plan(product=product, prices=[fee], **version)


def agree(plan: Plan, customer: Customer | NewCustomer, **new: Any) -> Agreement:
    now = timezone.now()
    members: dict[str, Any] = {"name": "Team", "plan_id": plan.id, "started_at": now, **new}
    return subscriptions.create(
        merchant_id=plan.merchant_id,
        customer=customer if isinstance(customer, NewCustomer) else customer.id,
        new=NewSubscription(**members),
        now=now,
    )


def fund(customer: Customer, amount: int, currency: str = "USD") -> None:
    wallet = Wallet.objects.get(customer_id=customer.id, kind="prepaid", currency=currency)
    topups.top_up(merchant_id=customer.merchant_id, wallet_id=wallet.id, amount=amount)


def reread(subscription: Subscription) -> Subscription:
    return Subscription.objects.get(bucket=subscription.bucket, id=subscription.id)


def move_clock(customer: Customer, to: datetime) -> None:
    Book.objects.filter(customer_id=customer.id).update(test_clock=to)


class TestCreate:
    def test_starts_at_once_where_nothing_has_to_be_paid(self, plan: Plan, customer: Customer) -> None:
        agreement = agree(plan, customer)
        subscription = agreement.subscription
        assert (agreement.is_new, agreement.due[:2], subscription.status) == (True, (0, 0), "active")
        assert subscription.bucket == ids.bucket_of(subscription.id) == customer.bucket
        assert subscription.payment_expires_at is None

    def test_pins_the_newest_version_of_the_plan(self, plan: Plan, customer: Customer) -> None:
        newest = factories.plan_version(plan=plan, number=2, prices=[])
        assert agree(plan, customer).subscription.plan_version_id == newest.id

    def test_makes_the_pots_of_the_plans_currency(self, merchant: Merchant, customer: Customer) -> None:
        plan = factories.plan(product=factories.product(merchant=merchant), currency="EUR")
        subscription = agree(plan, customer).subscription
        pots = {wallet.kind: wallet for wallet in Wallet.objects.filter(customer_id=customer.id)}
        assert {wallet.currency for wallet in pots.values()} == {"EUR"}
        assert (subscription.prepaid_wallet_id, subscription.credit_wallet_id) == (
            pots["prepaid"].id,
            pots["credit"].id,
        )

    def test_opens_the_invoices_of_this_period_and_the_next(self, plan: Plan, customer: Customer) -> None:
        subscription = agree(plan, customer).subscription
        first, second = Invoice.objects.filter(subscription_id=subscription.id).order_by("sequence_number")
        assert (subscription.invoice_id, subscription.next_invoice_id) == (first.id, second.id)
        assert (first.status, second.status) == ("active", "pending")

    def test_enters_the_customer_it_is_given(self, plan: Plan, merchant: Merchant) -> None:
        subscription = agree(plan, NewCustomer(name="Ada", email="ada@example.com")).subscription
        entered = registry.find(merchant_id=merchant.id, customer_id=subscription.customer_id)
        assert entered.email == "ada@example.com"
        again = agree(plan, NewCustomer(name="Ada", email="ADA@example.com"))
        assert (again.is_new, again.subscription.id) == (False, subscription.id)

    def test_finds_the_subscription_to_the_same_plan(self, plan: Plan, customer: Customer) -> None:
        first = agree(plan, customer)
        again = agree(plan, customer, name="Another name")
        assert (again.is_new, again.subscription.id, again.subscription.name) == (False, first.subscription.id, "Team")

    def test_refuses_a_second_plan_of_the_same_product(self, merchant: Merchant, customer: Customer) -> None:
        product = factories.product(merchant=merchant)
        agree(factories.plan(product=product), customer)
        with pytest.raises(Conflict) as refused:
            agree(factories.plan(product=product, prices=[]), customer)
        assert refused.value.code == "SUBSCRIPTION_EXISTS"

    def test_allows_plans_of_several_products(self, plan: Plan, customer: Customer, merchant: Merchant) -> None:
        agree(plan, customer)
        assert agree(factories.plan(product=factories.product(merchant=merchant)), customer).is_new

    def test_allows_the_same_plan_again_after_the_end(self, plan: Plan, customer: Customer) -> None:
        first = agree(plan, customer).subscription
        subscriptions.terminate(merchant_id=plan.merchant_id, subscription_id=first.id, reason="Done")
        assert agree(plan, customer).is_new

    def test_does_not_find_one_whose_time_is_over(self, plan: Plan, customer: Customer) -> None:
        ending = timezone.now() + timedelta(days=2)
        first = agree(plan, customer, ending_at=ending).subscription
        move_clock(customer, ending)
        again = agree(plan, customer, started_at=ending)
        assert again.is_new
        assert (reread(first).status, reread(first).terminated_at) == ("terminated", ending)

    def test_hides_plans_and_customers_of_other_merchants(self, plan: Plan, customer: Customer) -> None:
        stranger = factories.merchant()
        theirs = factories.plan(product=factories.product(merchant=stranger))
        with pytest.raises(NotFound):
            agree(plan, factories.customer(merchant=stranger))
        with pytest.raises(NotFound):
            agree(plan, customer, plan_id=theirs.id)
        assert not Subscription.objects.exists()

    @pytest.mark.parametrize(
        "new",
        [
            {"started_at": timezone.now() - timedelta(days=367)},
            {"started_at": timezone.now() + timedelta(days=367)},
            {"ending_at": timezone.now() - timedelta(minutes=1)},
            {"minimum_balance": 5_000 * DOLLARS + 1},
        ],
    )
    def test_refuses_what_is_out_of_bounds_and_leaves_nothing_behind(self, plan: Plan, new: dict[str, Any]) -> None:
        with pytest.raises(ValidationFailed):
            agree(plan, NewCustomer(name="Ada", email="ada@example.com"), **new)
        assert not Customer.objects.exists()


class TestCreateInParallel:
    def test_makes_one_subscription_of_eight_requests(self, transactional_db: None) -> None:
        merchant = factories.merchant()
        plan = factories.plan(product=factories.product(merchant=merchant))
        customer = factories.customer(merchant=merchant)
        results = parallel.run(8, lambda _: agree(plan, customer))
        assert [agreement.is_new for agreement in results].count(True) == 1
        assert Subscription.objects.count() == 1
        assert Invoice.objects.count() == 2

    def test_makes_one_customer_and_one_subscription_of_eight_requests(self, transactional_db: None) -> None:
        plan = factories.plan(product=factories.product(merchant=factories.merchant()))
        results = parallel.run(8, lambda _: agree(plan, NewCustomer(name="Ada", email="ada@example.com")))
        assert len({agreement.subscription.id for agreement in results}) == 1
        assert (Customer.objects.count(), Subscription.objects.count()) == (1, 1)

    def test_gives_the_product_to_one_of_two_plans(self, transactional_db: None) -> None:
        merchant = factories.merchant()
        product = factories.product(merchant=merchant)
        both = [factories.plan(product=product), factories.plan(product=product, prices=[])]
        customer = factories.customer(merchant=merchant)
        results = parallel.run(8, lambda number: agree(both[number % 2], customer))
        assert Subscription.objects.count() == 1
        assert sum(isinstance(result, Conflict) for result in results) == 4


class TestPeriod:
    def test_is_counted_from_the_start_in_the_organizations_time_zone(self, db: None) -> None:
        merchant = factories.merchant(timezone="America/New_York")
        plan, customer = (
            factories.plan(product=factories.product(merchant=merchant)),
            factories.customer(merchant=merchant),
        )
        # It starts on 31 October at 20:00 in New York; clocks go back on 1 November.
        move_clock(customer, datetime(2026, 12, 1, tzinfo=UTC))
        subscription = agree(plan, customer, started_at=datetime(2026, 11, 1, tzinfo=UTC)).subscription
        assert subscription.timezone == "America/New_York"
        assert subscription.period_start == datetime(2026, 11, 1, tzinfo=UTC)
        assert subscription.period_end == datetime(2026, 12, 1, 1, tzinfo=UTC)  # 30 November, 20:00

    def test_of_a_start_in_the_past_is_the_one_of_today(self, plan: Plan, customer: Customer) -> None:
        move_clock(customer, datetime(2026, 11, 15, tzinfo=UTC))
        subscription = agree(plan, customer, started_at=datetime(2026, 8, 31, tzinfo=UTC)).subscription
        assert subscription.period_start == datetime(2026, 10, 31, tzinfo=UTC)
        assert subscription.period_end == datetime(2026, 11, 30, tzinfo=UTC)

    def test_of_a_start_in_the_future_is_the_first(self, plan: Plan, customer: Customer) -> None:
        move_clock(customer, datetime(2026, 11, 15, tzinfo=UTC))
        subscription = agree(plan, customer, started_at=datetime(2027, 1, 31, tzinfo=UTC)).subscription
        assert subscription.period_start == datetime(2027, 1, 31, tzinfo=UTC)
        assert subscription.period_end == datetime(2027, 2, 28, tzinfo=UTC)


class TestPayment:
    def test_is_asked_for_upfront_fees(self, merchant: Merchant, customer: Customer) -> None:
        agreement = agree(plan_with_fee(merchant), customer)
        assert (agreement.subscription.status, agreement.due[:2]) == ("pending_payment", (50 * DOLLARS, 0))
        expires_at = agreement.subscription.payment_expires_at
        assert expires_at == agreement.subscription.created_at + timedelta(minutes=240)
        assert not Charge.objects.exists()
        assert not Invoice.objects.exists()

    def test_includes_tax(self, merchant: Merchant, customer: Customer) -> None:
        plan = plan_with_fee(merchant, default_tax_rate=10)
        assert agree(plan, customer).due[:2] == (55 * DOLLARS, 0)
        other = factories.customer(merchant=merchant)
        assert agree(plan, other, tax_exempt=True).due[:2] == (50 * DOLLARS, 0)

    def test_is_asked_for_a_minimum_balance(self, plan: Plan, customer: Customer) -> None:
        assert agree(plan, customer, minimum_balance=200 * DOLLARS).due[:2] == (0, 200 * DOLLARS)

    def test_is_only_what_the_wallet_lacks(self, merchant: Merchant, plan: Plan, customer: Customer) -> None:
        agree(plan, customer)
        fund(customer, 60 * DOLLARS)
        agreement = agree(plan_with_fee(merchant), customer, minimum_balance=100 * DOLLARS)
        assert agreement.due[:2] == (0, 90 * DOLLARS)

    def test_is_lifted_to_what_a_card_can_pay(self, plan: Plan, customer: Customer) -> None:
        assert agree(plan, customer, minimum_balance=DOLLARS // 4).due[:2] == (0, DOLLARS)

    def test_is_rounded_up_to_whole_cents(self, merchant: Merchant, customer: Customer) -> None:
        due = agree(plan_with_fee(merchant, "1.234"), customer).due
        assert due is not None
        assert due.total == 1_240_000_000

    def test_is_not_asked_for_when_the_wallet_has_enough(
        self, merchant: Merchant, plan: Plan, customer: Customer
    ) -> None:
        agree(plan, customer)
        fund(customer, 150 * DOLLARS)
        agreement = agree(plan_with_fee(merchant), customer, minimum_balance=100 * DOLLARS)
        assert (agreement.subscription.status, agreement.due[:2]) == ("active", (0, 0))
        assert Charge.objects.get().gross == 50 * DOLLARS


class TestStartCovered:
    def test_starts_what_a_top_up_covers_and_charges_the_fees(self, merchant: Merchant, customer: Customer) -> None:
        subscription = agree(plan_with_fee(merchant), customer).subscription
        fund(customer, 50 * DOLLARS)
        started = reread(subscription)
        assert (started.status, started.payment_expires_at) == ("active", None)
        assert started.invoice_id is not None
        wallet = Wallet.objects.get(customer_id=customer.id, kind="prepaid")
        assert (wallet.balance, wallet.spent) == (50 * DOLLARS, 50 * DOLLARS)

    def test_leaves_what_a_top_up_does_not_cover(self, merchant: Merchant, customer: Customer) -> None:
        subscription = agree(plan_with_fee(merchant), customer).subscription
        fund(customer, 50 * DOLLARS - DOLLARS // 100)
        assert reread(subscription).status == "pending_payment"
        fund(customer, DOLLARS // 100)
        assert reread(subscription).status == "active"

    def test_serves_first_who_came_first(self, merchant: Merchant, customer: Customer) -> None:
        first = agree(plan_with_fee(merchant), customer).subscription
        second = agree(plan_with_fee(merchant), customer).subscription
        fund(customer, 60 * DOLLARS)
        assert (reread(first).status, reread(second).status) == ("active", "pending_payment")

    def test_comes_too_late_for_one_that_has_expired(self, merchant: Merchant, customer: Customer) -> None:
        subscription = agree(plan_with_fee(merchant), customer).subscription
        assert subscription.payment_expires_at is not None
        move_clock(customer, subscription.payment_expires_at)
        fund(customer, 50 * DOLLARS)
        assert (reread(subscription).status, reread(subscription).termination_reason) == (
            "terminated",
            "payment_session_expired",
        )
        assert not Charge.objects.exists()

    def test_puts_a_late_payment_into_the_period_it_came_in(self, merchant: Merchant, customer: Customer) -> None:
        start = timezone.now()
        plan = plan_with_fee(merchant)
        subscription = agree(plan, customer, started_at=start, session_expiry=timedelta(days=60)).subscription
        move_clock(customer, subscription.period_end + timedelta(days=1))
        fund(customer, 50 * DOLLARS)
        started = reread(subscription)
        assert started.period_start == subscription.period_end


class TestTerminate:
    def end(self, subscription: Subscription, reason: str = "Moved away") -> Subscription:
        return subscriptions.terminate(
            merchant_id=subscription.merchant_id, subscription_id=subscription.id, reason=reason
        )

    def test_ends_a_subscription_and_says_who_and_why(self, plan: Plan, customer: Customer) -> None:
        subscription = agree(plan, customer).subscription
        ended = self.end(subscription)
        assert (ended.status, ended.termination_reason) == ("terminated", "Moved away")
        assert ended.terminated_by == ids.text("org", plan.merchant_id)
        assert ended.terminated_at is not None
        assert ended.terminated_at >= subscription.created_at

    def test_ends_no_later_than_was_agreed(self, plan: Plan, customer: Customer) -> None:
        ending = timezone.now() + timedelta(days=2)
        subscription = agree(plan, customer, ending_at=ending).subscription
        move_clock(customer, ending + timedelta(hours=1))
        assert self.end(subscription).terminated_at == ending

    def test_refuses_to_end_twice(self, plan: Plan, customer: Customer) -> None:
        subscription = agree(plan, customer).subscription
        self.end(subscription)
        with pytest.raises(Conflict) as refused:
            self.end(subscription, "Again")
        assert refused.value.code == "ALREADY_TERMINATED"
        assert reread(subscription).termination_reason == "Moved away"

    def test_ends_one_that_waits_for_payment(self, merchant: Merchant, customer: Customer) -> None:
        subscription = agree(plan_with_fee(merchant), customer).subscription
        assert self.end(subscription).status == "terminated"
        fund(customer, 50 * DOLLARS)
        assert reread(subscription).status == "terminated"

    def test_hides_another_merchants_subscription(self, plan: Plan, customer: Customer) -> None:
        subscription = agree(plan, customer).subscription
        with pytest.raises(NotFound):
            subscriptions.terminate(
                merchant_id=factories.merchant().id, subscription_id=subscription.id, reason="Mine now"
            )

    def test_succeeds_for_one_of_eight_at_the_same_time(self, transactional_db: None) -> None:
        merchant = factories.merchant()
        plan = factories.plan(product=factories.product(merchant=merchant))
        subscription = agree(plan, factories.customer(merchant=merchant)).subscription
        results = parallel.run(8, lambda _: self.end(subscription))
        assert sum(isinstance(result, Conflict) for result in results) == 7


class TestChange:
    def change(self, subscription: Subscription, **changes: Any) -> Subscription:
        return subscriptions.change(
            merchant_id=subscription.merchant_id, subscription_id=subscription.id, changes=changes, actor=SYSTEM
        )

    def test_changes_only_what_is_given(self, plan: Plan, customer: Customer) -> None:
        subscription = agree(plan, customer, auto_charge=True).subscription
        changed = self.change(subscription, minimum_balance=7 * DOLLARS, renewal_reminder_days=5)
        assert (changed.minimum_balance, changed.renewal_reminder_days, changed.auto_charge) == (7 * DOLLARS, 5, True)
        assert changed.updated_at > subscription.updated_at
        self.change(subscription, auto_charge=True)
        entry = AuditEntry.objects.get(action="subscription.changed")
        assert entry.changes["renewal_reminder_days"] == {"before": None, "after": 5}

    def test_ends_a_subscription_with_a_reason(self, plan: Plan, customer: Customer) -> None:
        changed = self.change(agree(plan, customer).subscription, status="terminated", reason="Moved away")
        assert (changed.status, changed.termination_reason) == ("terminated", "Moved away")

    def test_does_not_make_an_unpaid_one_active(self, merchant: Merchant, customer: Customer) -> None:
        subscription = agree(plan_with_fee(merchant), customer).subscription
        with pytest.raises(Conflict) as refused:
            self.change(subscription, status="active")
        assert refused.value.code == "INVALID_TRANSITION"

    def test_takes_the_status_it_has_for_no_change(self, plan: Plan, customer: Customer) -> None:
        assert self.change(agree(plan, customer).subscription, status="active").status == "active"

    def test_refuses_one_that_has_ended(self, plan: Plan, customer: Customer) -> None:
        subscription = agree(plan, customer).subscription
        self.change(subscription, status="terminated", reason="Moved away")
        for changes in ({"auto_charge": True}, {"status": "active"}, {"status": "terminated", "reason": "Again"}):
            with pytest.raises(Conflict):
                self.change(subscription, **changes)

    def test_refuses_a_minimum_balance_that_is_too_large(self, plan: Plan, customer: Customer) -> None:
        with pytest.raises(ValidationFailed):
            self.change(agree(plan, customer).subscription, minimum_balance=5_001 * DOLLARS)


class TestEndDue:
    def test_ends_those_whose_end_has_come_at_their_end(self, plan: Plan, customer: Customer) -> None:
        ending = timezone.now() + timedelta(days=2)
        subscription = agree(plan, customer, ending_at=ending).subscription
        assert endings.end_due(ending - timedelta(seconds=1), 10) == 0
        move_clock(customer, ending + timedelta(hours=1))
        assert endings.end_due(ending + timedelta(hours=1), 10) == 1
        ended = reread(subscription)
        assert (ended.status, ended.terminated_at) == ("terminated", ending)
        assert (ended.termination_reason, ended.terminated_by) == ("ending_at_reached", "system")

    def test_ends_those_that_were_not_paid(self, merchant: Merchant, customer: Customer) -> None:
        subscription = agree(plan_with_fee(merchant), customer).subscription
        expires_at = subscription.payment_expires_at
        assert expires_at is not None
        move_clock(customer, expires_at)
        assert endings.end_due(expires_at, 10) == 1
        assert reread(subscription).termination_reason == "payment_session_expired"
        assert endings.end_due(expires_at, 10) == 0

    def test_leaves_a_customer_alone_whose_own_clock_is_behind(self, plan: Plan, customer: Customer) -> None:
        ending = timezone.now() + timedelta(days=2)
        subscription = agree(plan, customer, ending_at=ending).subscription
        move_clock(customer, ending - timedelta(days=1))
        assert endings.end_due(ending, 10) == 0
        assert reread(subscription).status == "active"

    def test_is_not_held_up_by_customers_whose_clock_is_behind(self, plan: Plan, merchant: Merchant) -> None:
        ending = timezone.now() + timedelta(days=2)
        behind, due = (factories.customer(merchant=merchant) for _ in range(2))
        for customer, clock in ((behind, ending - timedelta(days=1)), (due, ending)):
            agree(plan, customer, ending_at=ending)
            move_clock(customer, clock)
        assert endings.end_due(ending, 1) == 1
        assert Subscription.objects.get(status="terminated").customer_id == due.id

    def test_ends_no_more_than_it_is_told(self, plan: Plan, merchant: Merchant) -> None:
        ending = timezone.now() + timedelta(days=2)
        for _ in range(3):
            customer = factories.customer(merchant=merchant)
            agree(plan, customer, ending_at=ending)
            move_clock(customer, ending)
        assert [endings.end_due(ending, 2) for _ in range(3)] == [2, 1, 0]

    def test_goes_on_after_one_that_cannot_be_ended(
        self, plan: Plan, merchant: Merchant, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        ending = timezone.now() + timedelta(days=2)
        made = []
        for _ in range(3):
            customer = factories.customer(merchant=merchant)
            made.append(agree(plan, customer, ending_at=ending).subscription)
            move_clock(customer, ending)
        close_final = subscriptions.invoicing.close_final

        def break_for_one(subscription: Subscription, now: datetime) -> None:
            if subscription.id == made[1].id:
                raise RuntimeError("broken")
            close_final(subscription, now)

        monkeypatch.setattr(subscriptions.invoicing, "close_final", break_for_one)
        with pytest.raises(ExceptionGroup) as failed:
            endings.end_due(ending, 10)
        assert ids.text("sub", made[1].id) in failed.value.exceptions[0].__notes__[0]
        assert [reread(each).status for each in made] == ["terminated", "active", "terminated"]


class TestEndAtTheEndOfAPeriod:
    def test_is_not_charged_for_the_next_period_even_if_billing_comes_first(
        self, merchant: Merchant, customer: Customer
    ) -> None:
        start = timezone.now()
        agree(factories.plan(product=factories.product(merchant=merchant)), customer)
        fund(customer, 500 * DOLLARS)
        plan = plan_with_fee(merchant)
        period = agree(plan, customer, started_at=start).subscription
        ending = period.period_end
        subscriptions.terminate(merchant_id=merchant.id, subscription_id=period.id, reason="Try again")
        subscription = agree(plan, customer, started_at=start, ending_at=ending).subscription
        move_clock(customer, ending + timedelta(hours=2))
        invoicing.bill_due(now=ending + timedelta(hours=2))
        endings.end_due(ending + timedelta(hours=2), 10)
        assert reread(subscription).terminated_at == ending
        charged = Charge.objects.filter(subscription_id=subscription.id, kind="fee")
        assert [charge.period_start for charge in charged] == [start]


class TestSearch:
    def test_filters(self, plan: Plan, merchant: Merchant, customer: Customer) -> None:
        first = agree(plan, customer).subscription
        other = factories.customer(merchant=merchant)
        second = agree(plan, other, started_at=timezone.now() - timedelta(days=40)).subscription
        subscriptions.terminate(merchant_id=merchant.id, subscription_id=second.id, reason="x")

        def found(**sought: Any) -> list[UUID]:
            return [each.id for each in subscription_reads.search(merchant_id=merchant.id, **sought)]

        assert found() == [second.id, first.id]
        assert found(customer_id=customer.id) == found(consumer_id=customer.consumer_id) == [first.id]
        assert found(customer_id=customer.id, consumer_id=other.consumer_id) == []
        assert found(status="terminated") == [second.id]
        assert found(started_before=timezone.now() - timedelta(days=30)) == [second.id]
        with pytest.raises(NotFound):
            subscription_reads.search(merchant_id=factories.merchant().id, customer_id=customer.id)

    def test_takes_one_query_with_customers_and_rates(self, plan: Plan, merchant: Merchant) -> None:
        for number in range(3):
            agree(plan, factories.customer(merchant=merchant, name=f"Buyer {number}", tax_rates={"default": "7"}))
        with CaptureQueriesContext(connection) as queries:
            rows = list(subscription_reads.with_customers(subscription_reads.search(merchant_id=merchant.id)))
            rates = [subscription_reads.estimated_tax_rate(row) for row in rows]
        assert len(queries) == 1
        assert rates == [7, 7, 7]
        assert {row.customer_name for row in rows} == {"Buyer 0", "Buyer 1", "Buyer 2"}
