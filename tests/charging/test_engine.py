"""What a command does to a book: worked cases here, every order of them in test_engine_model."""

from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from msgspec.structs import replace

from billing import spells
from billing.prices import Standard
from billing.spells import Spell
from charging.book import Book, Event, Reservation
from charging.commands import Correct, Extend, Line, Refund, Release, Reserve
from charging.engine import decide
from charging.outcomes import Done, Refused
from merchants import ids
from tests.charging.books import (
    BUCKET,
    CALLS,
    CREDIT,
    CUSTOMER,
    DOLLAR,
    FOREIGN,
    INVOICE,
    LATER,
    MERCHANT,
    NEXT_INVOICE,
    NOW,
    PLAN_VERSION,
    PREPAID,
    TOKENS,
    Catalogue,
    book,
    key,
    reserve,
    usage,
)

CATALOGUE = Catalogue()


def done(outcome: object) -> Done:
    assert isinstance(outcome, Done), outcome
    return outcome


def refused(outcome: object) -> str:
    assert isinstance(outcome, Refused), outcome
    return outcome.error.code


def event(outcome: object) -> Event:
    answer = done(outcome).answer
    assert isinstance(answer, Event)
    return answer


def granted(outcome: object) -> Reservation:
    answer = done(outcome).answer
    assert isinstance(answer, Reservation)
    return answer


class TestRecordUsage:
    def test_draws_the_price_from_the_prepaid_balance(self) -> None:
        customer = book()
        recorded = event(decide(customer, usage("a", (CALLS, "3")), CATALOGUE))
        assert (recorded.net, recorded.tax, recorded.gross) == (30_000_000, 0, 30_000_000)
        assert customer.wallets[PREPAID].available == 100 * DOLLAR - 30_000_000
        assert [charge.seq for charge in customer.writes.charges] == [1]

    def test_charges_fractions_of_a_nano_in_total_not_each(self) -> None:
        customer = book()
        for number in range(9):
            decide(customer, usage(f"k{number}", (TOKENS, "0.0000005")), CATALOGUE)
        charged = [charge.gross for charge in customer.writes.charges]
        assert sum(charged) == round(Decimal("0.0000045") * 333_333)
        assert set(charged) <= {0, 1}

    def test_answers_a_repeated_key_with_the_first_answer_even_without_funds(self) -> None:
        customer = book(balance=10_000_000)
        first = done(decide(customer, usage("a"), CATALOGUE))
        again = done(decide(customer, usage("a"), CATALOGUE))
        assert again.replayed
        assert again.answer is first.answer
        assert len(customer.writes.charges) == 1

    def test_refuses_another_payload_under_a_used_key(self) -> None:
        customer = book()
        decide(customer, usage("a"), CATALOGUE)
        conflict = decide(customer, usage("a", (CALLS, "2")), CATALOGUE)
        assert refused(conflict) == "IDEMPOTENCY_CONFLICT"
        assert conflict.error.details["differs"] == ["properties"]  # type: ignore[union-attr]
        later = decide(customer, usage("a", (CALLS, "1"), at=NOW - timedelta(seconds=1)), CATALOGUE)
        assert later.error.details["differs"] == ["timestamp"]  # type: ignore[union-attr]

    def test_leaves_everything_as_it_was_when_funds_are_short_and_the_key_unused(self) -> None:
        customer = book(balance=DOLLAR)
        outcome = decide(customer, usage("a", (CALLS, "60"), (CALLS, "41")), CATALOGUE)
        assert refused(outcome) == "INSUFFICIENT_FUNDS"
        assert outcome.error.details == {"available": "1.00", "required": "1.01", "currency": "USD"}  # type: ignore[union-attr]
        assert not customer.writes.charges
        assert not customer.counters
        customer.wallets[PREPAID].balance += DOLLAR
        assert event(decide(customer, usage("a", (CALLS, "60"), (CALLS, "41")), CATALOGUE)).gross == 1_010_000_000

    def test_spends_the_last_nano_and_no_more(self) -> None:
        customer = book(balance=10_000_000)
        assert done(decide(customer, usage("a"), CATALOGUE))
        assert refused(decide(customer, usage("b"), CATALOGUE)) == "INSUFFICIENT_FUNDS"

    def test_draws_arrears_on_the_credit_pot_up_to_its_limit(self) -> None:
        customer = book(balance=0, credit_limit=2 * DOLLAR)
        assert event(decide(customer, usage("a", (LATER, "2")), CATALOGUE)).gross == 2 * DOLLAR
        assert customer.wallets[CREDIT].available == 0
        outcome = decide(customer, usage("b", (LATER, "1")), CATALOGUE)
        assert refused(outcome) == "INSUFFICIENT_FUNDS"
        assert outcome.error.details["creditLimit"] == "2.00"

    def test_takes_all_properties_or_none(self) -> None:
        customer = book()
        outcome = decide(customer, usage("a", (CALLS, "1"), (FOREIGN, "1")), CATALOGUE)
        assert refused(outcome) == "NOT_FOUND"
        assert not customer.writes.events

    @pytest.mark.parametrize(("metric", "code"), [(FOREIGN, "NOT_FOUND"), (key(77), "NOT_FOUND")])
    def test_knows_no_metric_of_another_merchant(self, metric: bytes, code: str) -> None:
        assert refused(decide(book(), usage("a", (metric, "1")), CATALOGUE)) == code

    def test_knows_no_customer_of_another_merchant(self) -> None:
        command = usage("a")
        command.merchant_id = key(98)
        assert refused(decide(book(), command, CATALOGUE)) == "NOT_FOUND"

    @pytest.mark.parametrize(("seconds", "accepted"), [(300, True), (301, False)])
    def test_accepts_the_future_up_to_five_minutes(self, seconds: int, accepted: bool) -> None:
        outcome = decide(book(), usage("a", at=NOW + timedelta(seconds=seconds)), CATALOGUE)
        assert isinstance(outcome, Done) is accepted

    def test_refuses_a_subscription_that_waits_for_payment(self) -> None:
        customer = book()
        customer.subscriptions[0].status = "pending_payment"
        assert refused(decide(customer, usage("a"), CATALOGUE)) == "SUBSCRIPTION_NOT_ACTIVE"

    def test_refuses_use_and_reservations_of_a_subscription_that_is_paused(self) -> None:
        customer = book()
        held = granted(decide(customer, reserve(), CATALOGUE))
        customer.subscriptions[0].status = "paused"
        assert refused(decide(customer, usage("a"), CATALOGUE)) == "SUBSCRIPTION_PAUSED"
        assert refused(decide(customer, reserve(), CATALOGUE)) == "SUBSCRIPTION_PAUSED"
        assert isinstance(decide(customer, usage("b", reservation_id=held.id), CATALOGUE), Done)

    def test_refuses_a_customer_without_subscription(self) -> None:
        customer = book()
        customer.subscriptions.clear()
        assert refused(decide(customer, usage("a"), CATALOGUE)) == "NO_ACTIVE_SUBSCRIPTION"

    def test_counts_a_late_event_in_its_own_period_on_the_open_invoice(self) -> None:
        customer = book()
        start = customer.subscriptions[0].started_at
        customer.subscriptions[0].period_start = NOW
        decide(customer, usage("late", at=start + timedelta(days=1)), CATALOGUE)
        [charge] = customer.writes.charges
        assert (charge.period_start, charge.invoice_id) == (start, INVOICE)

    def test_puts_an_event_after_the_period_on_the_next_invoice(self) -> None:
        customer = book(now=NOW + timedelta(days=21))
        decide(customer, usage("next", at=NOW + timedelta(days=21)), CATALOGUE)
        [charge] = customer.writes.charges
        assert (charge.period_start, charge.invoice_id) == (NOW + timedelta(days=20), NEXT_INVOICE)

    def test_adds_exclusive_tax_and_pins_its_rate_for_the_period(self) -> None:
        customer, catalogue = book(), Catalogue(tax_rate="19")
        recorded = event(decide(customer, usage("a", (CALLS, "100")), catalogue))
        assert (recorded.net, recorded.tax, recorded.gross) == (DOLLAR, 190_000_000, 1_190_000_000)
        customer.tax_rates = {"default": "7"}
        assert event(decide(customer, usage("b", (CALLS, "100")), catalogue)).tax == 190_000_000

    @pytest.mark.parametrize(
        ("rates", "tax"),
        [
            ({"default": "5"}, 5),
            ({"default": "5", ids.text("plan", Catalogue().plans[key(5)].plan_id): "6"}, 6),
            ({ids.text("plan", Catalogue().plans[key(5)].plan_id): "6", ids.text("bm", CALLS): "0"}, 0),
            (None, 19),
        ],
    )
    def test_takes_the_most_particular_tax_rate(self, rates: dict[str, str] | None, tax: int) -> None:
        customer = book(tax_rates=rates)
        assert event(decide(customer, usage("a", (CALLS, "100")), Catalogue("19"))).tax == tax * 10_000_000

    def test_refuses_more_money_than_there_is_in_numbers(self) -> None:
        customer = book(credit_limit=None)
        outcome = decide(customer, usage("a", (LATER, "9" * 40)), CATALOGUE)
        assert refused(outcome) == "AMOUNT_TOO_LARGE"


class TestReserve:
    def test_holds_what_the_units_may_cost(self) -> None:
        customer = book()
        held = granted(decide(customer, reserve("r", (CALLS, "10"), (TOKENS, "3")), CATALOGUE))
        assert held.granted == held.held == 100_000_000 + 999_999
        assert customer.wallets[PREPAID].available == 100 * DOLLAR - held.granted

    def test_holds_a_plain_amount(self) -> None:
        customer = book()
        command = Reserve(key(60), CUSTOMER, MERCHANT, None, b"", (Line(CALLS, None, Decimal("2.5")),), 1, 60)
        assert granted(decide(customer, command, CATALOGUE)).granted == 2_500_000_000

    def test_is_refused_when_other_holds_leave_too_little(self) -> None:
        customer = book(balance=DOLLAR)
        assert done(decide(customer, reserve("a", (CALLS, "60")), CATALOGUE))
        outcome = decide(customer, reserve("b", (CALLS, "41")), CATALOGUE)
        assert refused(outcome) == "INSUFFICIENT_FUNDS"
        assert outcome.error.details == {"available": "0.40", "required": "0.41", "currency": "USD"}  # type: ignore[union-attr]

    def test_keeps_its_funds_from_other_use(self) -> None:
        customer = book(balance=DOLLAR)
        held = granted(decide(customer, reserve("a", (CALLS, "60")), CATALOGUE))
        assert refused(decide(customer, usage("x", (CALLS, "41")), CATALOGUE)) == "INSUFFICIENT_FUNDS"
        assert done(decide(customer, usage("y", (CALLS, "60"), reservation_id=held.id), CATALOGUE))

    def test_repeats_its_answer_under_the_same_key(self) -> None:
        customer = book()
        first = done(decide(customer, reserve("a"), CATALOGUE))
        assert done(decide(customer, reserve("a"), CATALOGUE)).answer is first.answer
        assert refused(decide(customer, reserve("a", (CALLS, "2")), CATALOGUE)) == "IDEMPOTENCY_CONFLICT"

    def test_is_granted_once_when_the_same_command_runs_again_after_a_lost_answer(self) -> None:
        customer, command = book(), reserve(None)
        decide(customer, command, CATALOGUE)
        decide(customer, command, CATALOGUE)
        assert customer.wallets[PREPAID].held == 10_000_000

    def test_does_not_mix_prepaid_and_postpaid(self) -> None:
        outcome = decide(book(), reserve("a", (CALLS, "1"), (LATER, "1")), CATALOGUE)
        assert refused(outcome) == "MIXED_PAYMENT_TERMS"


class TestCapture:
    def test_takes_the_actual_price_and_returns_the_rest_on_the_last_use(self) -> None:
        customer = book()
        held = granted(decide(customer, reserve("r", (CALLS, "100")), CATALOGUE))
        decide(customer, usage("a", (CALLS, "40"), reservation_id=held.id), CATALOGUE)
        assert (held.state, held.captured, held.released, held.held) == ("captured", 400_000_000, 600_000_000, 0)
        assert customer.wallets[PREPAID].held == 0
        assert customer.writes.charges[0].captured == 400_000_000

    def test_goes_on_up_to_max_uses_or_a_final_one(self) -> None:
        customer = book()
        held = granted(decide(customer, reserve("r", (CALLS, "100"), uses=5), CATALOGUE))
        decide(customer, usage("a", (CALLS, "10"), reservation_id=held.id), CATALOGUE)
        assert held.open
        decide(customer, usage("b", (CALLS, "10"), reservation_id=held.id, final=True), CATALOGUE)
        assert (held.state, held.used_count) == ("captured", 2)
        assert customer.wallets[PREPAID].held == 0

    def test_takes_what_exceeds_it_from_the_free_balance(self) -> None:
        customer = book(balance=DOLLAR)
        held = granted(decide(customer, reserve("r", (CALLS, "60")), CATALOGUE))
        decide(customer, usage("a", (CALLS, "70"), reservation_id=held.id), CATALOGUE)
        assert customer.wallets[PREPAID].available == 300_000_000
        assert held.captured == 600_000_000

    def test_is_refused_when_the_free_balance_cannot_pay_the_excess(self) -> None:
        customer = book(balance=DOLLAR)
        held = granted(decide(customer, reserve("r", (CALLS, "60")), CATALOGUE))
        outcome = decide(customer, usage("a", (CALLS, "101"), reservation_id=held.id), CATALOGUE)
        assert refused(outcome) == "INSUFFICIENT_FUNDS"
        assert held.held == 600_000_000

    def test_draws_on_the_free_balance_when_it_comes_too_late(self) -> None:
        customer = book()
        held = granted(decide(customer, reserve("r", (CALLS, "60"), ttl=60), CATALOGUE))
        customer.now += timedelta(seconds=60)
        recorded = event(decide(customer, usage("a", (CALLS, "60"), reservation_id=held.id), CATALOGUE))
        assert recorded.gross == 600_000_000
        assert (held.state, held.captured) == ("expired", 0)
        assert customer.wallets[PREPAID].available == 100 * DOLLAR - 600_000_000

    def test_is_refused_for_a_metric_it_does_not_cover(self) -> None:
        customer = book()
        held = granted(decide(customer, reserve("r", (CALLS, "60")), CATALOGUE))
        outcome = decide(customer, usage("a", (TOKENS, "1"), reservation_id=held.id), CATALOGUE)
        assert refused(outcome) == "METRIC_NOT_RESERVED"

    def test_is_refused_for_a_reservation_that_is_not_there(self) -> None:
        assert refused(decide(book(), usage("a", reservation_id=key(88)), CATALOGUE)) == "NOT_FOUND"

    def test_is_covered_though_the_tax_rate_has_risen_since(self) -> None:
        customer = book(balance=110 * DOLLAR // 100, tax_rates={"default": "10"})
        held = granted(decide(customer, reserve(None, (CALLS, "100")), CATALOGUE))
        customer.tax_rates = {"default": "30"}
        used = event(decide(customer, usage("a", (CALLS, "100"), reservation_id=held.id, final=True), CATALOGUE))
        assert used.gross == 110 * DOLLAR // 100

    def test_opens_no_counter_when_it_is_refused(self) -> None:
        customer = book(balance=0)
        assert refused(decide(customer, reserve(None, (CALLS, "1")), CATALOGUE)) == "INSUFFICIENT_FUNDS"
        assert customer.counters == {}


class TestRelease:
    def test_gives_back_what_is_held_and_is_content_the_second_time(self) -> None:
        customer = book()
        held = granted(decide(customer, reserve("r"), CATALOGUE))
        assert granted(decide(customer, Release(CUSTOMER, MERCHANT, held.id), CATALOGUE)).state == "released"
        assert customer.wallets[PREPAID].available == 100 * DOLLAR
        again = done(decide(customer, Release(CUSTOMER, MERCHANT, held.id), CATALOGUE))
        assert again.replayed
        assert customer.wallets[PREPAID].available == 100 * DOLLAR


class TestExtend:
    def test_moves_the_end_and_never_back(self) -> None:
        customer = book()
        held = granted(decide(customer, reserve("r", ttl=60), CATALOGUE))
        decide(customer, Extend(CUSTOMER, MERCHANT, held.id, 600), CATALOGUE)
        assert held.expires_at == NOW + timedelta(seconds=600)
        decide(customer, Extend(CUSTOMER, MERCHANT, held.id, 10), CATALOGUE)
        assert held.expires_at == NOW + timedelta(seconds=600)

    def test_is_refused_once_it_is_over(self) -> None:
        customer = book()
        held = granted(decide(customer, reserve("r", ttl=60), CATALOGUE))
        customer.now += timedelta(seconds=60)
        outcome = decide(customer, Extend(CUSTOMER, MERCHANT, held.id, 600), CATALOGUE)
        assert refused(outcome) == "RESERVATION_CLOSED"

    def test_is_refused_into_a_period_that_has_less_off(self) -> None:
        customer = book()
        ends = NOW + timedelta(seconds=500)
        customer.subscriptions[0].discounts = [["50", (NOW - timedelta(days=10)).isoformat(), ends.isoformat()]]
        held = granted(decide(customer, reserve("r", (CALLS, "100"), ttl=60), CATALOGUE))
        assert held.held == DOLLAR // 2
        done(decide(customer, Extend(CUSTOMER, MERCHANT, held.id, 120), CATALOGUE))
        outcome = decide(customer, Extend(CUSTOMER, MERCHANT, held.id, 250), CATALOGUE)
        assert refused(outcome) == "DISCOUNT_ENDS"
        assert held.expires_at == NOW + timedelta(seconds=120)

    def test_holds_what_use_costs_after_a_discount_that_may_end_before_it(self) -> None:
        customer = book()
        ends = NOW + timedelta(seconds=500)
        customer.subscriptions[0].discounts = [["50", (NOW - timedelta(days=10)).isoformat(), ends.isoformat()]]
        assert granted(decide(customer, reserve("r", (CALLS, "100"), ttl=600), CATALOGUE)).held == DOLLAR


class TestSpells:
    """A subscription whose plan was changed, or that is on trial."""

    NEW_PLAN = key(6)

    def customer(self, **columns: Any) -> tuple[Book, Catalogue]:
        """One who has had a plan with calls at two cents for an hour."""
        catalogue = Catalogue()
        old = catalogue.plans[PLAN_VERSION]
        dearer = replace(old.prices[0], id=key(90), model=Standard(Decimal("0.02")))
        catalogue.plans[self.NEW_PLAN] = replace(old, id=self.NEW_PLAN, prices=(dearer, *old.prices[1:]))
        customer = book(**columns)
        subscription = customer.subscriptions[0]
        start, changed = subscription.started_at, NOW - timedelta(hours=1)
        subscription.spells = spells.write(
            [Spell(PLAN_VERSION, start, start, "P1M"), Spell(self.NEW_PLAN, changed, start, "P1M")]
        )
        subscription.plan_version_id = self.NEW_PLAN
        return customer, catalogue

    def test_charge_each_use_by_the_plan_of_its_time(self) -> None:
        customer, catalogue = self.customer()
        now, late = (
            event(decide(customer, usage(name, (CALLS, "10"), at=at), catalogue))
            for name, at in (("now", NOW), ("late", NOW - timedelta(hours=2)))
        )
        assert (now.net, late.net) == (DOLLAR // 5, DOLLAR // 10)
        assert len(customer.counters) == 2

    def test_go_on_counting_by_a_price_that_both_have(self) -> None:
        customer, catalogue = self.customer()
        for name, at in (("now", NOW), ("late", NOW - timedelta(hours=2))):
            decide(customer, usage(name, (TOKENS, "10"), at=at), catalogue)
        [counter] = customer.counters.values()
        assert counter.accumulator.quantity == 20

    def test_have_a_correction_move_use_from_one_plan_to_the_other(self) -> None:
        customer, catalogue = self.customer()
        late = event(decide(customer, usage("late", (CALLS, "10"), at=NOW - timedelta(hours=2)), catalogue))
        customer.events[late.id] = late
        customer.charges_of[late.id] = list(customer.writes.charges)
        command = Correct(key(71), CUSTOMER, MERCHANT, None, b"c" * 16, late.id, "moved", False, timestamp=NOW)
        done(decide(customer, command, catalogue))
        assert sum(charge.gross for charge in customer.writes.charges) == DOLLAR // 5
        assert {counter.accumulator.quantity for counter in customer.counters.values()} == {0, 10}

    def test_that_are_free_trials_charge_and_hold_nothing(self) -> None:
        customer = book(balance=0)
        subscription = customer.subscriptions[0]
        subscription.trial_ends_at, subscription.trial_is_free = subscription.period_end, True
        assert event(decide(customer, usage("a", (CALLS, "10")), CATALOGUE)).gross == 0
        assert granted(decide(customer, reserve("r", (CALLS, "10")), CATALOGUE)).held == 0
        after = subscription.period_end + timedelta(seconds=1)
        customer.now = after
        outcome = decide(customer, usage("b", (CALLS, "10"), at=after), CATALOGUE)
        assert refused(outcome) == "INSUFFICIENT_FUNDS"


class TestRefund:
    def test_returns_exactly_the_charges_and_leaves_the_quantity_counted(self) -> None:
        customer = book()
        recorded = event(decide(customer, usage("a", (CALLS, "3"), (TOKENS, "7")), CATALOGUE))
        customer.events[recorded.id] = recorded
        customer.charges_of[recorded.id] = list(customer.writes.charges)
        done(decide(customer, Refund(key(70), CUSTOMER, MERCHANT, recorded.id, "sorry"), CATALOGUE))
        assert sum(charge.gross for charge in customer.writes.charges) == 0
        assert customer.wallets[PREPAID].available == 100 * DOLLAR
        assert {c.accumulator.quantity for c in customer.counters.values()} == {3, 7}

    def test_happens_once(self) -> None:
        customer = book()
        recorded = event(decide(customer, usage("a"), CATALOGUE))
        customer.events[recorded.id] = recorded
        customer.charges_of[recorded.id] = list(customer.writes.charges)
        decide(customer, Refund(key(70), CUSTOMER, MERCHANT, recorded.id, ""), CATALOGUE)
        again = decide(customer, Refund(key(71), CUSTOMER, MERCHANT, recorded.id, ""), CATALOGUE)
        assert refused(again) == "ALREADY_REFUNDED"
        assert ids.bucket_of(key(71)) == BUCKET
