"""Stripe: what is sent exists in its API, what is read is understood, and its amounts are not everybody's."""

import json
import time
import uuid
from datetime import timedelta
from typing import Any

import pytest
import stripe
from django.utils import timezone

from billing import money
from billing.models import ProviderAccount
from billing.payments import accounts, claims, minor_units, providers, stripe_reading
from billing.payments.minor_units import CannotBeCharged
from billing.payments.provider import Line, Order, Payer, ProviderDown, ProviderError, RefundOrder, State, Subject
from billing.payments.stripe_account import StripeAccount
from billing.payments.stripe_wire import ANSWER_SECONDS_MAX, RETRIES_MAX, Wire
from merchants import audit
from merchants.errors import NotFound, ValidationFailed
from merchants.models import AuditEntry, Mode
from tests import factories

PAYER = Payer(customer_id=uuid.UUID(int=9), name="A", email="a@b.c")
SECRET = "whsec_" + "a" * 24
ORDER = Order(
    attempt_id=uuid.UUID(int=7),
    key="att-7",
    amount=1000,
    currency="USD",
    description="A top-up",
    customer_ref="cus_1",
    method_ref="pm_1",
    return_url="https://example.com",
    save_card=True,
)


class Recorder(stripe.HTTPClient):
    """Keeps what is sent, and answers with what it is told to."""

    name = "recorder"

    def __init__(self) -> None:
        super().__init__()
        self.requests: list[tuple[str, str, dict[str, str], str]] = []
        self.answers: list[tuple[int, Any]] = []

    def request(self, method: str, url: str, headers: Any, post_data: Any = None, **options: Any) -> Any:
        self.requests.append((method, url, dict(headers), post_data or ""))
        status, body = self.answers.pop(0) if self.answers else (418, {"error": {"message": "no more answers"}})
        return json.dumps(body), status, {}

    def sleep_time_seconds(self, *args: Any, **options: Any) -> float:
        return 0


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def account(recorder: Recorder) -> StripeAccount:
    made = StripeAccount(secret_key="sk_test_0123456789", webhook_secret=SECRET)
    made.client._requestor._client = recorder
    return made


def refused(account: StripeAccount, ask: Any, *args: Any) -> None:
    with pytest.raises(ProviderDown):
        getattr(account, ask)(*args)


class TestWhatIsSent:
    def params_of(self, recorder: Recorder) -> set[str]:
        from urllib.parse import parse_qsl

        _, url, _, body = recorder.requests[-1]
        return {name.split("[")[0] for name, _ in parse_qsl(body or url.partition("?")[2], keep_blank_values=True)}

    @pytest.mark.parametrize(
        ("ask", "args", "params"),
        [
            ("charge", [ORDER], "PaymentIntentCreateParams"),
            ("start_checkout", [ORDER], "checkout.SessionCreateParams"),
            ("start_setup", [ORDER], "checkout.SessionCreateParams"),
            ("fetch", ["pi_1"], "PaymentIntentRetrieveParams"),
            ("fetch", ["cs_1"], "checkout.SessionRetrieveParams"),
            ("find", [uuid.UUID(int=7), timezone.now()], "PaymentIntentListParams"),
            (
                "refund",
                [RefundOrder(refund_id=uuid.UUID(int=8), key="re-8", payment_ref="pi_1", amount=1, currency="USD")],
                "RefundCreateParams",
            ),
            (
                "find_refund",
                [RefundOrder(refund_id=uuid.UUID(int=8), key="re-8", payment_ref="pi_1", amount=1, currency="USD")],
                "RefundListParams",
            ),
            ("ensure_customer", [PAYER, "cus-9"], "CustomerCreateParams"),
        ],
    )
    def test_is_in_stripes_own_types(
        self, account: StripeAccount, recorder: Recorder, ask: str, args: list[Any], params: str
    ) -> None:
        refused(account, ask, *args)
        module: Any = stripe.params
        for name in params.split("."):
            module = getattr(module, name)
        sent = self.params_of(recorder)
        assert sent
        assert sent <= set(module.__annotations__)

    def test_takes_cards_alone(self, account: StripeAccount, recorder: Recorder) -> None:
        refused(account, "start_checkout", ORDER)
        assert "allowed_payment_method_types" in self.params_of(recorder)

    def test_carries_our_key(self, account: StripeAccount, recorder: Recorder) -> None:
        refused(account, "charge", ORDER)
        refused(account, "start_checkout", ORDER)
        assert {headers["Idempotency-Key"] for _, _, headers, _ in recorder.requests} == {ORDER.key}

    def test_is_tried_three_times_with_one_key_and_a_short_wait(self, account: StripeAccount) -> None:
        assert account.client._requestor._options.max_network_retries == RETRIES_MAX == 2
        fresh = StripeAccount(secret_key="sk_test_0123456789", webhook_secret=None)
        assert isinstance(fresh.client._requestor._client, Wire)


class TestWhatIsRaised:
    @pytest.mark.parametrize(
        ("status", "error", "expected"),
        [
            (400, {"type": "invalid_request_error"}, ProviderError),
            (404, {"type": "invalid_request_error"}, ProviderError),
            (401, {}, ProviderError),
            (403, {}, ProviderError),
            (400, {"type": "idempotency_error"}, ProviderError),
            (409, {"type": "api_error"}, ProviderDown),
            (429, {}, ProviderDown),
            (500, {}, ProviderDown),
            (503, {}, ProviderDown),
        ],
    )
    def test_tells_a_refusal_from_silence(
        self, account: StripeAccount, recorder: Recorder, status: int, error: dict[str, str], expected: type
    ) -> None:
        recorder.answers = [(status, {"error": {"message": "no", **error}})]
        with pytest.raises(expected):
            account.charge(ORDER)

    def test_is_no_fault_where_a_card_is_declined(self, account: StripeAccount, recorder: Recorder) -> None:
        error = {
            "type": "card_error",
            "code": "card_declined",
            "decline_code": "insufficient_funds",
            "message": "Insufficient funds.",
            "payment_intent": {"id": "pi_1", "object": "payment_intent", "status": "requires_payment_method"},
        }
        recorder.answers = [(402, {"error": error})]
        outcome = account.charge(ORDER)
        assert (outcome.state, outcome.code, outcome.ref) == (State.DECLINED, "insufficient_funds", "pi_1")


def intent(status: str, **members: Any) -> dict[str, Any]:
    metadata = {"farthing_attempt": ORDER.attempt_id.hex, **members.pop("metadata", {})}
    facts = {"id": "pi_1", "object": "payment_intent", "status": status, "amount": 1000, "currency": "usd"}
    return {**facts, "metadata": metadata, **members}


class TestReading:
    def fetched(self, account: StripeAccount, recorder: Recorder, ref: str, answer: Any) -> Any:
        recorder.answers = [(200, answer)]
        return account.fetch(ref)

    @pytest.mark.parametrize(
        ("status", "state"),
        [
            ("succeeded", State.SUCCEEDED),
            ("processing", State.PROCESSING),
            ("requires_action", State.REQUIRES_ACTION),
            ("requires_payment_method", State.DECLINED),
            ("canceled", State.CANCELLED),
        ],
    )
    def test_understands_intents(self, account: StripeAccount, recorder: Recorder, status: str, state: State) -> None:
        outcome = self.fetched(account, recorder, "pi_1", intent(status))
        assert (outcome.state, outcome.ref, outcome.attempt_id) == (state, "pi_1", ORDER.attempt_id)

    def test_does_not_give_up_a_page_for_one_declined_card(self, account: StripeAccount, recorder: Recorder) -> None:
        answer = intent("requires_payment_method", metadata={"farthing_hosted": "1"})
        outcome = self.fetched(account, recorder, "pi_1", answer)
        assert (outcome.state, outcome.ref) == (State.REQUIRES_ACTION, "")

    @pytest.mark.parametrize(
        ("members", "state", "ref"),
        [
            ({"status": "open", "url": "https://checkout"}, State.REQUIRES_ACTION, "cs_1"),
            ({"status": "expired"}, State.CANCELLED, "cs_1"),
            ({"status": "complete", "payment_intent": intent("succeeded")}, State.SUCCEEDED, "pi_1"),
            ({"status": "complete", "payment_intent": intent("processing")}, State.PROCESSING, "pi_1"),
        ],
    )
    def test_understands_pages(
        self, account: StripeAccount, recorder: Recorder, members: dict[str, Any], state: State, ref: str
    ) -> None:
        metadata = {"farthing_attempt": ORDER.attempt_id.hex}
        answer = {"id": "cs_1", "object": "checkout.session", "metadata": metadata, **members}
        outcome = self.fetched(account, recorder, "cs_1", answer)
        assert (outcome.state, outcome.ref, outcome.attempt_id) == (state, ref, ORDER.attempt_id)

    def test_keeps_the_card_that_a_page_saved(self, account: StripeAccount, recorder: Recorder) -> None:
        card = {"brand": "visa", "last4": "4242", "exp_month": 12, "exp_year": 2030}
        method = {"id": "pm_1", "object": "payment_method", "type": "card", "card": card}
        answer = {
            "id": "cs_1",
            "object": "checkout.session",
            "status": "complete",
            "customer": "cus_1",
            "metadata": {"farthing_attempt": ORDER.attempt_id.hex},
            "setup_intent": {"id": "seti_1", "object": "setup_intent", "status": "succeeded", "payment_method": method},
        }
        outcome = self.fetched(account, recorder, "cs_1", answer)
        assert outcome.state == State.SUCCEEDED
        assert (outcome.card.ref, outcome.card.customer_ref, outcome.card.last4) == ("pm_1", "cus_1", "4242")

    def test_cancels_what_its_absent_owner_would_have_to_confirm(
        self, account: StripeAccount, recorder: Recorder
    ) -> None:
        recorder.answers = [(200, intent("requires_action")), (200, intent("canceled"))]
        outcome = account.charge(ORDER)
        assert (outcome.state, outcome.code) == (State.DECLINED, "authentication_required")
        assert recorder.requests[-1][1].endswith("/v1/payment_intents/pi_1/cancel")

    @pytest.mark.parametrize(
        ("status", "state"),
        [
            ("needs_response", "open"),
            ("won", "won"),
            ("lost", "lost"),
            ("warning_closed", None),
            ("warning_needs_response", None),
            ("prevented", None),
        ],
    )
    def test_understands_disputes(self, status: str, state: str | None) -> None:
        said = {"id": "dp_1", "status": status, "payment_intent": "pi_1", "amount": 5, "currency": "usd"}
        facts = stripe_reading.of_dispute(stripe.Dispute.construct_from(said, "k"))
        assert (facts.state if facts else None) == state

    def test_understands_what_was_taken(self, account: StripeAccount, recorder: Recorder) -> None:
        taken = {"id": "txn_1", "object": "balance_transaction", "amount": 920, "fee": 55, "net": 865}
        taken |= {"currency": "eur", "exchange_rate": 0.92}
        charge = {"id": "ch_1", "object": "charge", "balance_transaction": taken}
        outcome = self.fetched(account, recorder, "pi_1", intent("succeeded", latest_charge=charge))
        line = Line(ref="txn_1", amount=920, fee=55, currency="EUR", charged=1000, exchange_rate="0.92")
        assert outcome.lines == (line,)
        assert "latest_charge.balance_transaction" in str(recorder.requests[-1])
        late = {**charge, "balance_transaction": None}
        assert self.fetched(account, recorder, "pi_1", intent("succeeded", latest_charge=late)).lines == ()

    def test_understands_what_a_dispute_cost(self) -> None:
        out = {"id": "txn_1", "amount": -1000, "fee": 1500, "currency": "usd", "exchange_rate": None}
        back = {**out, "id": "txn_2", "amount": 1000, "fee": 0}
        said = {"id": "dp_1", "status": "won", "payment_intent": "pi_1", "amount": 1000, "currency": "usd"}
        facts = stripe_reading.of_dispute(
            stripe.Dispute.construct_from({**said, "balance_transactions": [out, back]}, "k")
        )
        assert facts is not None
        assert [(each.amount, each.fee, each.charged) for each in facts.lines] == [
            (-1000, 1500, -1000),
            (1000, 0, 1000),
        ]


class TestWebhooks:
    def message(self, about: dict[str, Any], **members: Any) -> bytes:
        event = {"id": "evt_1", "object": "event", "type": "a.b", "livemode": False, "data": {"object": about}}
        return json.dumps({**event, **members}).encode()

    def signed(self, raw: bytes, ago: int = 0, secret: str = SECRET) -> dict[str, str]:
        stamp = int(time.time()) - ago
        header = stripe.WebhookSignature.generate_signature_header(raw.decode(), secret, timestamp=stamp)
        return {"Stripe-Signature": header}

    @pytest.mark.parametrize(
        ("kind", "subject"),
        [
            ("payment_intent", Subject.PAYMENT),
            ("checkout.session", Subject.PAYMENT),
            ("refund", Subject.REFUND),
            ("dispute", Subject.DISPUTE),
            ("customer", Subject.OTHER),
        ],
    )
    def test_are_read_as_hints(self, account: StripeAccount, kind: str, subject: Subject) -> None:
        raw = self.message({"object": kind, "id": "x_1"})
        hint = account.read_webhook(raw, self.signed(raw), timezone.now())
        assert (hint.event_id, hint.subject, hint.ref) == ("evt_1", subject, "x_1")

    def test_are_refused_unless_signed_fresh_and_of_this_mode(self, account: StripeAccount, subtests: Any) -> None:
        raw = self.message({"object": "refund", "id": "x_1"})
        live = self.message({"object": "refund", "id": "x_1"}, livemode=True)
        for says, body, headers in [
            ("stale", raw, self.signed(raw, ago=301)),
            ("from the future", raw, self.signed(raw, ago=-310)),
            ("another secret", raw, self.signed(raw, secret="whsec_other")),
            ("tampered", raw + b" ", self.signed(raw)),
            ("garbage", raw, {"Stripe-Signature": "t=é,v1=ü"}),
            ("nothing", raw, {}),
            ("of the other mode", live, self.signed(live)),
            ("a list", b"[]", self.signed(b"[]")),
        ]:
            with subtests.test(says), pytest.raises(Exception):  # noqa: B017 - of any kind
                account.read_webhook(body, headers, timezone.now())


class TestAmounts:
    @pytest.mark.parametrize(
        ("amount", "currency", "counted"),
        [
            ("12.34", "USD", 1234),
            ("500", "JPY", 500),
            ("12.340", "KWD", 12340),
            ("500", "MGA", 500),
            ("5", "UGX", 500),
            ("5", "ISK", 500),
        ],
    )
    def test_are_counted_stripes_way_and_back(self, amount: str, currency: str, counted: int) -> None:
        nanos = money.to_nanos(amount)
        assert minor_units.to_stripe(nanos, currency) == counted
        assert minor_units.from_stripe(counted, currency) == nanos

    @pytest.mark.parametrize(
        ("amount", "currency"), [("12.345", "KWD"), ("0.5", "MGA"), ("0.001", "USD"), ("-1", "USD")]
    )
    def test_that_cannot_be_charged_are_refused(self, amount: str, currency: str) -> None:
        with pytest.raises(CannotBeCharged):
            minor_units.to_stripe(money.to_nanos(amount), currency)


class TestKeys:
    @pytest.fixture(autouse=True)
    def named(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(StripeAccount, "identity", lambda self: "acct_1")

    def connect(self, merchant: Any, secret_key: str = "sk_test_" + "a" * 24, webhook_secret: Any = SECRET) -> Any:
        return accounts.connect_stripe(
            merchant_id=merchant.id,
            secret_key=secret_key,
            webhook_secret=webhook_secret,
            actor=audit.SYSTEM,
            now=timezone.now(),
        )

    def test_are_sealed_and_only_hinted_at(self, db: None) -> None:
        merchant = factories.merchant()
        assert providers.code_for(merchant.id) == "test"
        shown = self.connect(merchant)
        assert (shown.secret_key_hint, shown.has_webhook_secret) == ("sk_test_…aaaa", True)
        row = ProviderAccount.objects.get()
        assert b"a" * 24 not in bytes(row.secret_key) + bytes(row.webhook_secret or b"")
        assert "a" * 24 not in str(list(AuditEntry.objects.values_list("changes", flat=True)))
        assert providers.code_for(merchant.id) == "stripe"
        assert isinstance(providers.open_for(merchant.id, "stripe", row.account_id), StripeAccount)
        self.connect(merchant, "rk_test_" + "b" * 24, None)
        assert ProviderAccount.objects.get().webhook_secret == row.webhook_secret
        accounts.disconnect_stripe(merchant_id=merchant.id, actor=audit.SYSTEM, now=timezone.now())
        assert accounts.shown(merchant.id) is None
        with pytest.raises(NotFound):
            accounts.disconnect_stripe(merchant_id=merchant.id, actor=audit.SYSTEM, now=timezone.now())
        with pytest.raises(ProviderError):
            providers.open_for(merchant.id, "stripe", row.account_id)

    @pytest.mark.parametrize("key", ["", "pk_test_" + "a" * 24, "sk_test_", "sk_live_" + "a" * 24, "sk_test_a b"])
    def test_are_refused_where_they_are_not_of_this_mode(self, db: None, key: str) -> None:
        with pytest.raises(ValidationFailed):
            self.connect(factories.merchant(), key)

    def test_of_live_mode_are_a_live_merchants(self, db: None) -> None:
        assert self.connect(factories.merchant(mode=Mode.LIVE), "sk_live_" + "a" * 24).provider == "stripe"

    def test_of_the_test_provider_open_nothing_in_live_mode(self, db: None) -> None:
        with pytest.raises(ProviderError):
            providers.open_for(factories.merchant(mode=Mode.LIVE).id, "test", None)


def test_nobody_else_takes_what_may_still_be_answered() -> None:
    asked = ("the customer", "the charge", "its end where nobody can confirm it")
    assert len(asked) * timedelta(seconds=ANSWER_SECONDS_MAX) < claims.LEASE
