"""Reconciliation: what we booked and what the provider did, held against each other both ways."""

import uuid
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db.models import Q

from billing.models import PaymentAttempt, PaymentDispute, PaymentRefund, ProviderAccount, ProviderCode, ProviderLine
from billing.payments import accounts as payment_accounts
from billing.payments import attempts, disputes, foreign_refunds, outcomes, providers, refunds
from billing.payments.outcomes import News
from billing.payments.provider import DisputeFacts, Outcome, Provider, State
from merchants import ids
from merchants.models import Merchant, Mode

# What happened so lately may be known to one side only.
GRACE = timedelta(minutes=5)
# Lists of a provider begin earlier than ours: it made a payment after we wrote it down, by another clock.
CLOCKS_APART = timedelta(hours=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """Something that one side says and the other does not."""

    merchant_id: uuid.UUID
    provider: str
    kind: str
    subject: str  # our public id, or the provider's where there is none
    says: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Compared:
    """How much was held against each other at one provider, and what did not agree."""

    merchant_id: uuid.UUID
    provider: str
    payments: int
    refunds: int
    disputes: int
    differences: list[Difference]


def accounts(merchant_id: uuid.UUID | None = None) -> list[tuple[uuid.UUID, str]]:
    """Name the accounts there are to reconcile: merchants and their providers."""
    stripe = ProviderAccount.objects.values_list("merchant_id", "provider")
    tests = Merchant.objects.filter(mode=Mode.TEST).values_list("id", flat=True)
    found = [*stripe, *[(each, ProviderCode.TEST.value) for each in tests]]
    return sorted(found) if merchant_id is None else [each for each in found if each[0] == merchant_id]


def compare(
    *, merchant_id: uuid.UUID, provider: str, since: datetime, now: datetime, grace: timedelta = GRACE
) -> Compared:
    """Hold what we booked since a time against what the provider lists, at the account that is connected.

    Raises:
        ProviderDown, ProviderError: the provider does not answer, or does not let us in.
        RuntimeError: a transaction is open.
    """
    attempts.ensure_no_transaction()
    account_id = payment_accounts.connected(merchant_id, provider)
    opened = providers.open_for(merchant_id, provider, account_id)
    side = _Side(merchant_id, provider, account_id, opened, since, now - grace)
    payments, returned, disputed = side.payments(), side.refunds(), side.disputes()
    return Compared(
        merchant_id=merchant_id,
        provider=provider,
        payments=len(payments),
        refunds=len(returned),
        disputes=len(disputed),
        differences=[
            *side.of_payments(payments),
            *side.of_refunds(returned),
            *side.of_disputes(disputed),
            *side.of_lines([*payments, *returned, *disputed]),
        ],
    )


def catch_up(*, merchant_id: uuid.UUID, provider: str, since: datetime) -> None:
    """Apply what the provider lists and we had not heard of.

    Raises:
        ProviderDown, ProviderError: the provider does not answer, or does not let us in.
        RuntimeError: a transaction is open.
    """
    attempts.ensure_no_transaction()
    opened = providers.open_for(merchant_id, provider, payment_accounts.connected(merchant_id, provider))
    for outcome in list(opened.payments_since(since - CLOCKS_APART)):
        if _ours(PaymentAttempt, merchant_id, outcome.attempt_id):
            outcomes.apply(outcome.attempt_id, outcome, news=News.RECONCILE)  # type: ignore[arg-type]
    for outcome in list(opened.refunds_since(since - CLOCKS_APART)):
        if _ours(PaymentRefund, merchant_id, outcome.attempt_id):
            refunds.apply(outcome.attempt_id, outcome)  # type: ignore[arg-type]
        elif outcome.attempt_id is None:
            foreign_refunds.apply(merchant_id=merchant_id, provider=provider, outcome=outcome)
    for facts in list(opened.disputes_since(since - CLOCKS_APART)):
        disputes.apply(merchant_id=merchant_id, provider=provider, facts=facts)


def _ours(
    model: type[PaymentAttempt] | type[PaymentRefund], merchant_id: uuid.UUID, owner_id: uuid.UUID | None
) -> bool:
    if owner_id is None:
        return False
    mine = model._default_manager.filter(bucket=ids.bucket_of(owner_id), id=owner_id, merchant_id=merchant_id)
    return mine.exists()


@dataclass(frozen=True, slots=True)
class _Side:
    merchant_id: uuid.UUID
    provider: str
    account_id: uuid.UUID | None
    opened: Provider
    since: datetime
    until: datetime

    def payments(self) -> list[Outcome]:
        return list(self.opened.payments_since(self.since - CLOCKS_APART))

    def refunds(self) -> list[Outcome]:
        return list(self.opened.refunds_since(self.since - CLOCKS_APART))

    def disputes(self) -> list[DisputeFacts]:
        return list(self.opened.disputes_since(self.since - CLOCKS_APART))

    def of_payments(self, listed: list[Outcome]) -> Iterator[Difference]:
        theirs = _by_owner(listed)
        ours = {
            each.id: each
            for each in PaymentAttempt.objects.filter(
                Q(created_at__gte=self.since) | Q(id__in=theirs),
                merchant_id=self.merchant_id,
                provider=self.provider,
                account_id=self.account_id,
            ).exclude(purpose=PaymentAttempt.Purpose.SETUP)
        }
        for attempt_id, charged in theirs.items():
            yield from self._of_charged(attempt_id, charged, ours.get(attempt_id))
        for attempt in ours.values():
            if attempt.state == PaymentAttempt.State.SUCCEEDED and attempt.id not in theirs and self._is_due(attempt):
                yield self._differ("not_charged", ids.text("att", attempt.id), "booked, and not charged")

    def _of_charged(
        self, attempt_id: uuid.UUID, charged: list[Outcome], attempt: PaymentAttempt | None
    ) -> Iterator[Difference]:
        subject = ids.text("att", attempt_id)
        if len(charged) > 1:
            refs = ", ".join([each.ref for each in charged])
            yield self._differ("charged_twice", subject, f"charged {len(charged)} times: {refs}")
        if attempt is None:
            if charged[0].amount is not None:
                yield self._differ("not_known", subject, f"charged as {charged[0].ref}, and we know of no such payment")
        elif attempt.state != PaymentAttempt.State.SUCCEEDED:
            if attempt.created_at <= self.until:
                yield self._differ("not_booked", subject, f"charged as {charged[0].ref}, and {attempt.state} here")
        else:
            booked = (providers.minor_units(attempt.amount, attempt.currency, self.provider), attempt.currency)
            if booked != (charged[0].amount, charged[0].currency):
                took = f"{charged[0].amount} {charged[0].currency}"
                yield self._differ("amount_differs", subject, f"booked {booked[0]} {booked[1]}, charged {took}")

    def of_refunds(self, listed: list[Outcome]) -> Iterator[Difference]:
        theirs = _by_owner(listed)
        ours = {
            each.id: each
            for each in PaymentRefund.objects.filter(
                Q(created_at__gte=self.since) | Q(id__in=theirs), merchant_id=self.merchant_id
            )
        }
        for refund_id, given in theirs.items():
            subject, made = ids.text("re", refund_id), ours.get(refund_id)
            if len(given) > 1:
                yield self._differ("refunded_twice", subject, f"given back {len(given)} times")
            if made is None or (made.state != PaymentRefund.State.SUCCEEDED and made.created_at <= self.until):
                state = made.state if made else "not known"
                yield self._differ("refund_not_booked", subject, f"given back as {given[0].ref}, and {state} here")
        yield from self._of_foreign(listed)
        refs = {each.ref for each in listed}
        mine = PaymentAttempt.objects.filter(
            merchant_id=self.merchant_id, provider=self.provider, account_id=self.account_id
        )
        at_provider = set(mine.values_list("id", flat=True))
        for made in ours.values():
            is_booked = made.state == PaymentRefund.State.SUCCEEDED and made.attempt_id in at_provider
            is_listed = made.id in theirs or made.provider_ref in refs
            if is_booked and not is_listed and self._is_due(made):
                yield self._differ("not_refunded", ids.text("re", made.id), "booked, and not given back")

    def _of_foreign(self, listed: list[Outcome]) -> Iterator[Difference]:
        for each in listed:
            if each.attempt_id is not None or each.state != State.SUCCEEDED or not self._is_of_ours(each.payment_ref):
                continue
            booked = PaymentRefund.objects.filter(merchant_id=self.merchant_id, provider_ref=each.ref)
            if not booked.filter(state=PaymentRefund.State.SUCCEEDED).exists():
                yield self._differ("refund_not_booked", each.ref, f"{each.payment_ref} was given back there, not by us")

    def of_disputes(self, listed: list[DisputeFacts]) -> Iterator[Difference]:
        ours = {each.provider_ref: each for each in PaymentDispute.objects.filter(merchant_id=self.merchant_id)}
        for facts in listed:
            booked = ours.get(facts.ref)
            state = booked.state if booked else "not known"
            if state != facts.state and self._is_of_ours(facts.payment_ref):
                yield self._differ("dispute_differs", facts.ref, f"{facts.state} there, {state} here")

    def of_lines(self, listed: Sequence[Outcome | DisputeFacts]) -> Iterator[Difference]:
        """Tell of what the provider's account has of payments of ours, and we have not booked."""
        told = {line.ref: each.payment_ref or each.ref for each in listed for line in each.lines}
        mine = PaymentAttempt.objects.filter(
            merchant_id=self.merchant_id, provider=self.provider, provider_ref__in=set(told.values())
        )
        refs = dict(mine.values_list("id", "provider_ref"))
        lines = ProviderLine.objects.filter(bucket__in={ids.bucket_of(key) for key in refs}, attempt_id__in=refs)
        ours, booked = set(refs.values()), set(lines.values_list("ref", flat=True))
        for ref, payment_ref in told.items():
            if payment_ref in ours and ref not in booked:
                yield self._differ("line_not_booked", ref, f"it is in the account there, about {payment_ref}")

    def _is_of_ours(self, payment_ref: str) -> bool:
        mine = PaymentAttempt.objects.filter(merchant_id=self.merchant_id, provider_ref=payment_ref)
        return bool(payment_ref) and mine.exists()

    def _is_due(self, booked: PaymentAttempt | PaymentRefund) -> bool:
        """Tell whether the provider's list should have something that we have."""
        return self.since <= booked.created_at <= self.until

    def _differ(self, kind: str, subject: str, says: str) -> Difference:
        return Difference(merchant_id=self.merchant_id, provider=self.provider, kind=kind, subject=subject, says=says)


def _by_owner(listed: Iterable[Outcome]) -> dict[uuid.UUID, list[Outcome]]:
    """Sort what a provider carried out by whose it is."""
    found: dict[uuid.UUID, list[Outcome]] = defaultdict(list)
    for each in listed:
        if each.state == State.SUCCEEDED and each.attempt_id is not None:
            found[each.attempt_id].append(each)
    return found
