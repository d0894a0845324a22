"""The cards of the built-in test provider: what each of them makes happen. Nobody's money is behind any of them."""

from collections.abc import Mapping
from dataclasses import dataclass

from billing.payments.provider import State

BRAND = "Test card"
EXP_MONTH, EXP_YEAR = 12, 2099


@dataclass(frozen=True, slots=True, kw_only=True)
class TestCard:
    """What happens when a card is charged.

    Args:
        state: what the payment is at once, and ``then`` what it becomes a few seconds later.
        is_answered: False: the first answer is lost after the card was charged.
        webhooks: how often each message is sent.
        is_late: messages come a day late.
        dispute: what becomes of a dispute that the payer opens; empty: they open none.
    """

    __test__ = False  # for pytest

    token: str
    number: str
    says: str
    state: State = State.SUCCEEDED
    then: State | None = None
    code: str = ""
    message: str = ""
    is_answered: bool = True
    webhooks: int = 1
    is_late: bool = False
    dispute: str = ""
    refunds: State = State.SUCCEEDED

    @property
    def last4(self) -> str:
        return self.number[-4:]


SUCCESS, DECLINE = "test_success", "test_decline"

ALL = (
    TestCard(token=SUCCESS, number="4242424242424242", says="succeeds"),
    TestCard(
        token=DECLINE,
        number="4000000000000002",
        says="is declined",
        state=State.DECLINED,
        code="card_declined",
        message="The card was declined.",
    ),
    TestCard(
        token="test_insufficient_funds",  # noqa: S106 - the name of a card
        number="4000000000009995",
        says="is declined: insufficient funds",
        state=State.DECLINED,
        code="insufficient_funds",
        message="The card has insufficient funds.",
    ),
    TestCard(
        token="test_3ds",  # noqa: S106
        number="4000000000003220",
        says="asks its owner to confirm (3-D Secure)",
        state=State.REQUIRES_ACTION,
    ),
    TestCard(
        token="test_processing_success",  # noqa: S106
        number="4000000000000101",
        says="is processing for some seconds, then succeeds",
        state=State.PROCESSING,
        then=State.SUCCEEDED,
    ),
    TestCard(
        token="test_processing_fail",  # noqa: S106
        number="4000000000000119",
        says="is processing for some seconds, then is declined",
        state=State.PROCESSING,
        then=State.DECLINED,
        code="processing_failed",
        message="The bank refused the payment.",
    ),
    TestCard(
        token="test_timeout_charged",  # noqa: S106
        number="4000000000000127",
        says="is charged, and the answer is lost",
        is_answered=False,
    ),
    TestCard(
        token="test_duplicate_webhook",  # noqa: S106
        number="4000000000000135",
        says="succeeds, and every webhook comes five times",
        webhooks=5,
    ),
    TestCard(
        token="test_late_webhook",  # noqa: S106
        number="4000000000000143",
        says="is processing, then succeeds; webhooks come a day late",
        state=State.PROCESSING,
        then=State.SUCCEEDED,
        is_late=True,
    ),
    TestCard(
        token="test_dispute",  # noqa: S106
        number="4000000000000259",
        says="succeeds, and is disputed",
        dispute="open",
    ),
    TestCard(
        token="test_dispute_won",  # noqa: S106
        number="4000000000000267",
        says="succeeds, and is disputed; you win",
        dispute="won",
    ),
    TestCard(
        token="test_dispute_lost",  # noqa: S106
        number="4000000000000275",
        says="succeeds, and is disputed; you lose",
        dispute="lost",
    ),
    TestCard(
        token="test_refund_fails",  # noqa: S106
        number="4000000000000283",
        says="succeeds, and cannot be refunded",
        refunds=State.DECLINED,
    ),
)

BY_TOKEN: Mapping[str, TestCard] = {card.token: card for card in ALL}
BY_NUMBER: Mapping[str, TestCard] = {card.number: card for card in ALL}
