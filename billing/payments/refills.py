"""Refills: at each renewal a wallet is filled up to the minimum balance that was agreed, by the customer's saved card.

Only the gap is charged, lifted to what card processors take at least, once a period, and only where the subscription
says ``autoCharge``: without it, or without a saved card, nobody is charged, and alerts tell of a low balance. The
attempt is written in the transaction of the renewal; whoever looks after attempts hands it to the provider.
"""

from datetime import datetime

from billing import lapses, topups, upfront
from billing.models import Subscription, TopUp, Wallet
from billing.payments import methods
from merchants import idempotency

METHOD = "renewal"  # how a top-up names what fills a wallet when its subscription renews


def renewed(subscription: Subscription, now: datetime) -> None:
    """Charge what a wallet lacks of the minimum balance as the next period begins; the caller holds the lock."""
    if not (subscription.auto_charge and subscription.minimum_balance):
        return
    lapses.bring_up_to_date(subscription.bucket, subscription.customer_id, now)
    wallet = Wallet.objects.get(bucket=subscription.bucket, id=subscription.prepaid_wallet_id)
    lacking = subscription.minimum_balance - (wallet.available or 0)
    method = methods.default(subscription.bucket, subscription.customer_id)
    if lacking <= 0 or method is None:
        return
    # A client's key has no spaces, so no top-up of theirs can have this one.
    key = f"renewal {subscription.id.hex} {subscription.period_end.isoformat()}"
    known = TopUp.objects.filter(bucket=wallet.bucket, customer_id=wallet.customer_id)
    on_its_way = known.filter(wallet_id=wallet.id, method=METHOD, status=TopUp.Status.PENDING)
    if on_its_way.exists() or known.filter(idempotency_key=key).exists():
        return
    amount = upfront.payable(lacking, subscription.currency)
    fingerprint = idempotency.fingerprint(wallet.id, amount, METHOD)
    made = topups.write(wallet, amount=amount, method=METHOD, key=key, fingerprint=fingerprint, now=now)
    topups.begin(made, now=now, method=method)
