"""What has to be paid before a subscription starts."""

from typing import NamedTuple

from billing import fees, money
from billing.models import Subscription, Wallet

# Card processors take no smaller payment: what has to be paid is lifted to it.
PAYMENT_MIN = money.NANOS


class Due(NamedTuple):
    """The parts of a first payment, in nanos: for fees, and for the balance that the wallet shall have after them."""

    fees: int
    wallet: int

    @property
    def total(self) -> int:
        return self.fees + self.wallet


NOTHING_DUE = Due(fees=0, wallet=0)


def due(subscription: Subscription) -> Due:
    """Return what has to be paid before a subscription may start, in whole minor units; nothing if it may start now.

    The wallet pays the fees first, and what it has left counts towards the minimum balance.
    """
    wallet = Wallet.objects.get(bucket=subscription.bucket, id=subscription.prepaid_wallet_id)
    free = wallet.available or 0
    charged = fees.upfront(subscription=subscription, version=subscription.plan_version)
    lacking = charged + subscription.minimum_balance - free
    if lacking <= 0:
        return NOTHING_DUE
    unit = money.minor_unit(subscription.currency)
    payment = max(PAYMENT_MIN, -(-lacking // unit) * unit)
    for_fees = max(0, charged - free)
    return Due(fees=for_fees, wallet=payment - for_fees)
