"""A customer with a subscription and money, and a small engine that charges as the real one does: one use at a time."""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.db import transaction
from msgspec.structs import asdict

from billing import cycles, money, rating, settlement, subscriptions, taxes, topups, wallets
from billing.models import (
    Charge,
    Counter,
    PaymentAttempt,
    Plan,
    PriceVersion,
    Refund,
    Subscription,
    UnsettledWallet,
    Wallet,
)
from billing.subscriptions import NewSubscription
from customers import books
from customers.models import Book, Customer
from merchants import ids
from merchants.models import Merchant
from metering.models import UsageEvent
from tests import factories

NOW = factories.NOW
EVERYWHERE = range(256)


@dataclass
class Buyer:
    """A customer, subscribed, whose clock stands still until it is set."""

    merchant: Merchant
    customer: Customer
    plan: Plan
    subscription: Subscription

    @property
    def bucket(self) -> int:
        return self.customer.bucket

    @property
    def prepaid(self) -> Wallet:
        return self._pot(self.subscription.prepaid_wallet_id)

    @property
    def credit(self) -> Wallet:
        return self._pot(self.subscription.credit_wallet_id)

    def _pot(self, wallet_id: uuid.UUID) -> Wallet:
        return Wallet.objects.get(bucket=self.bucket, id=wallet_id)

    def set_clock(self, at: datetime) -> None:
        Book.objects.filter(bucket=self.bucket, customer_id=self.customer.id).update(test_clock=at)

    def top_up(self, amount: str) -> None:
        top_up(self.merchant, self.customer, amount, self.subscription.currency)

    def use(self, price: PriceVersion, quantity: str | int = 1, *, at: datetime | None = None) -> UsageEvent:
        """Record one use of one price, as the engine would."""
        return use(self.subscription, price, Decimal(quantity), at)

    def refund(self, event: UsageEvent) -> Refund:
        """Return an event's charges."""
        return refund(event)

    def settle(self) -> None:
        settle()

    def terminate(self, reason: str = "done") -> None:
        subscriptions.terminate(merchant_id=self.merchant.id, subscription_id=self.subscription.id, reason=reason)

    def reload(self) -> Subscription:
        self.subscription = Subscription.objects.get(bucket=self.bucket, id=self.subscription.id)
        return self.subscription


def settle() -> int:
    """Settle whatever waits, wherever it is."""
    return settlement.settle_due(buckets=EVERYWHERE, now=NOW)


def buyer(
    *prices: PriceVersion,
    balance: str = "100",
    at: datetime = NOW,
    started_at: datetime | None = None,
    fee_rate: str = "0",
    customer: dict[str, Any] | None = None,
    subscription: dict[str, Any] | None = None,
    by_card: bool = False,
    **version: Any,
) -> Buyer:
    """Subscribe a new customer to a new plan of these prices, which are all of one product."""
    product = (prices[0].price.billable_metric or prices[0].price.fee).product
    merchant = product.merchant
    if fee_rate != "0":
        Merchant.objects.filter(id=merchant.id).update(platform_fee_rate=Decimal(fee_rate))
    plan = factories.plan(product=product, prices=list(prices), **version)
    return subscribe(
        merchant,
        plan,
        balance=balance,
        at=at,
        started_at=started_at,
        customer=customer,
        subscription=subscription,
        by_card=by_card,
    )


def subscribe(
    merchant: Merchant,
    plan: Plan,
    *,
    balance: str = "100",
    at: datetime = NOW,
    started_at: datetime | None = None,
    customer: dict[str, Any] | None = None,
    subscription: dict[str, Any] | None = None,
    by_card: bool = False,
) -> Buyer:
    """Subscribe a new customer to a plan, with this much in the prepaid wallet; ``by_card`` it can be given back."""
    who = factories.customer(merchant=merchant, **(customer or {}))
    Book.objects.filter(customer_id=who.id).update(test_clock=at)
    currency = (subscription or {}).get("currency") or plan.versions.get(is_option=False).currency
    if Decimal(balance):
        (top_up if by_card else pay_in)(merchant, who, balance, currency)
    new = {"name": plan.name, "plan_id": plan.id, "started_at": started_at or at} | (subscription or {})
    agreed = subscriptions.create(merchant_id=merchant.id, customer=who.id, new=NewSubscription(**new), now=at)
    return Buyer(merchant, who, plan, agreed.subscription)


def top_up(merchant: Merchant, customer: Customer, amount: str, currency: str = "USD") -> None:
    """Put money into a customer's prepaid wallet."""
    with transaction.atomic():
        _, now = books.lock(customer.bucket, customer.id)
        wallet, _ = wallets.ensure_pots(bucket=customer.bucket, customer_id=customer.id, currency=currency, now=now)
    topups.top_up(merchant_id=merchant.id, wallet_id=wallet.id, amount=money.to_nanos(amount))


def pay_in(merchant: Merchant, customer: Customer, amount: str, currency: str = "USD") -> None:
    """Put money into a customer's prepaid wallet as a payment leaves it there, without a card that was charged."""
    with transaction.atomic():
        _, now = books.lock(customer.bucket, customer.id)
        wallet, _ = wallets.ensure_pots(bucket=customer.bucket, customer_id=customer.id, currency=currency, now=now)
        paid = PaymentAttempt.objects.create(
            bucket=customer.bucket,
            id=ids.new(customer.bucket),
            customer_id=customer.id,
            merchant_id=merchant.id,
            purpose=PaymentAttempt.Purpose.TOPUP,
            target_id=ids.new(customer.bucket),
            amount=money.to_nanos(amount),
            currency=currency,
            provider="test",
            source=topups.Method.TEST_SUCCESS,
            state=PaymentAttempt.State.SUCCEEDED,
            created_at=now,
            resolved_at=now,
        )
        topups.receive(wallet, top_up_id=paid.target_id, amount=paid.amount, method=paid.source, now=now)


# --- the small engine --------------------------------------------------------------------------------------


def use(subscription: Subscription, price: PriceVersion, quantity: Decimal, at: datetime | None = None) -> UsageEvent:
    """Rate one use and write what the engine writes: event, charge, counter, wallet, queue."""
    with transaction.atomic():
        book, now = books.lock(subscription.bucket, subscription.customer_id)
        subscription = Subscription.objects.get(bucket=subscription.bucket, id=subscription.id)
        at = at or now
        prices = cycles.prices_at(subscription, at)
        rated = next(each for each in prices.prices if each.id == price.id.bytes)
        counter = _counter(subscription, price, book, at)
        before = rating.Totals(counter.net, counter.gross - counter.net, counter.gross, counter.fee)
        accumulator = rating.accumulate(
            rated.model, rating.Accumulator(counter.quantity, counter.amount), rating.Usage(quantity)
        )
        exact = rating.total(rated.model, accumulator)
        totals = rating.totals(exact, counter.tax_rate, prices.tax_behavior, counter.fee_rate, counter.discount)
        counter.quantity, counter.amount = accumulator.quantity, accumulator.amount
        counter.net, counter.gross, counter.fee = totals.net, totals.gross, totals.fee
        counter.save()
        event = _event(subscription, price, quantity, at, now)
        charge(
            subscription,
            price,
            rating.difference(totals, before),
            source_id=event.id,
            wallet_id=subscription.prepaid_wallet_id if rated.term == "instant" else subscription.credit_wallet_id,
            invoice_id=subscription.invoice_id if at < subscription.period_end else subscription.next_invoice_id,
            period_start=counter.period_start,
            quantity=quantity,
            created_at=now,
        )
    return event


def _counter(subscription: Subscription, price: PriceVersion, book: Book, at: datetime) -> Counter:
    prices = cycles.prices_at(subscription, at)
    period = cycles.period_of(subscription, at)
    rates = {
        "tax_rate": taxes.rate(
            customer_rates=book.tax_rates,
            plan_id=uuid.UUID(bytes=prices.plan_id),
            plan_rate=prices.default_tax_rate,
            is_exempt=subscription.tax_exempt,
            metric_id=price.price.billable_metric_id,
        ),
        "fee_rate": book.merchant.platform_fee_rate,
        "discount": cycles.discount_of_use(subscription, period),
    }
    counter, _ = Counter.objects.get_or_create(
        bucket=subscription.bucket,
        customer_id=subscription.customer_id,
        subscription_id=subscription.id,
        price_version_id=price.id,
        period_start=period.start,
        period_end=period.end,
        defaults=rates,
    )
    return counter


def _event(
    subscription: Subscription, price: PriceVersion, quantity: Decimal, at: datetime, now: datetime
) -> UsageEvent:
    event_id = ids.new(subscription.bucket)
    return UsageEvent.objects.create(
        bucket=subscription.bucket,
        id=event_id,
        customer_id=subscription.customer_id,
        merchant_id=subscription.merchant_id,
        subscription_id=subscription.id,
        idempotency_key=event_id.hex,
        fingerprint=b"0" * 16,
        timestamp=at,
        created_at=now,
        properties=[[price.price.billable_metric_id.hex, f"{quantity.normalize():f}", None]],
    )


def charge(subscription: Subscription, price: PriceVersion, amounts: rating.Totals, **columns: Any) -> Charge:
    """Write a charge with its wallet's next number; the book is locked."""
    wallet = Wallet.objects.get(bucket=subscription.bucket, id=columns["wallet_id"])
    wallet.charge_seq += 1
    wallet.spent += amounts.gross
    wallet.used += amounts.gross
    wallet.save(update_fields=["charge_seq", "spent", "used"])
    queued = UnsettledWallet(
        bucket=wallet.bucket, wallet_id=wallet.id, customer_id=wallet.customer_id, since=columns["created_at"]
    )
    UnsettledWallet.objects.bulk_create([queued], ignore_conflicts=True)
    defaults = {
        "position": 0,
        "kind": "usage",
        "invoice_id": subscription.invoice_id,
        "metric_id": price.price.billable_metric_id,
    }
    return Charge.objects.create(
        bucket=subscription.bucket,
        customer_id=subscription.customer_id,
        seq=wallet.charge_seq,
        subscription_id=subscription.id,
        price_version_id=price.id,
        **{**defaults, **asdict(amounts), **columns},
    )


def refund(event: UsageEvent) -> Refund:
    """Return exactly what an event was charged."""
    with transaction.atomic():
        _, now = books.lock(event.bucket, event.customer_id)
        subscription = Subscription.objects.get(bucket=event.bucket, id=event.subscription_id)
        made = Refund.objects.create(
            bucket=event.bucket,
            id=ids.new(event.bucket),
            customer_id=event.customer_id,
            usage_event_id=event.id,
            created_at=now,
        )
        for each in Charge.objects.filter(bucket=event.bucket, source_id=event.id).order_by("position"):
            charge(
                subscription,
                PriceVersion.objects.get(id=each.price_version_id),
                rating.Totals(-each.net, -each.tax, -each.gross, -each.fee),
                source_id=made.id,
                position=each.position,
                kind="refund",
                wallet_id=each.wallet_id,
                period_start=each.period_start,
                quantity=-each.quantity,
                created_at=now,
            )
    return made


def utc(*parts: int) -> datetime:
    """An instant in UTC."""
    return datetime(*parts, tzinfo=UTC)  # type: ignore[arg-type,misc]
