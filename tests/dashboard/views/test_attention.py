"""What needs attention: named with the reason, and tried again by who may."""

import pytest
from django.test import Client
from django.utils import timezone

from billing import money, rerating
from billing.models import Counter, Invoice
from merchants import ids
from merchants.models import AuditEntry
from tests import factories, scenes

PATH = "/judgebox/test/attention"


def stuck(scene: scenes.Scene) -> tuple[Counter, Invoice]:
    """A counter of the first buyer's that could not be rated, and an invoice that could not be issued."""
    scenes.lag(scene)
    counter = Counter.objects.filter(
        price_version_id=scene.prices[0].id, customer_id=scene.buyers[0].customer.id
    ).latest("period_end")
    parked = Counter.objects.filter(pk=counter.pk)
    parked.update(
        parked_at=timezone.now(),
        parked_reason="The amount is too large.",
        unrated_since=scene.buyers[0].events[0].created_at,
    )
    invoice = scene.buyers[1].invoice
    Invoice.objects.filter(pk=invoice.pk).update(status="failed", failure_reason="Use of its period is not rated yet.")
    return parked.get(), invoice


def sent(counter: Counter) -> dict[str, str]:
    return {
        "subscription": ids.text("sub", counter.subscription_id),
        "version": str(counter.price_version_id),
        "period_end": counter.period_end.isoformat(),
    }


class TestListing:
    def test_names_what_waits_and_why(self, owner: Client, scene: scenes.Scene) -> None:
        for path in ("/judgebox/test/", "/judgebox/test/invoices"):
            assert b"needs attention" not in owner.get(path).content
        assert b"Everything is rated" in owner.get(PATH).content
        stuck(scene)
        content = owner.get(PATH).content.decode()
        for words in ("The amount is too large.", "Premium submissions", "Northwind Labs", "is not rated yet"):
            assert words in content
        for path in ("/judgebox/test/", "/judgebox/test/invoices"):
            assert b"See what needs attention" in owner.get(path).content

    def test_counts_the_events_that_wait(self, owner: Client, scene: scenes.Scene) -> None:
        counter, _ = stuck(scene)
        [row] = owner.get(PATH).context["counters"]
        counted = [
            event
            for event in scene.buyers[0].events
            if counter.period_start <= event.timestamp < counter.period_end
            and any(each[0] == scene.metrics[0].id.hex for each in event.properties)
        ]
        assert (row.events, row.is_more) == (len(counted), False)

    def test_shows_nothing_of_other_merchants(self, owner: Client, scene: scenes.Scene) -> None:
        stuck(scene)
        assert b"Everything is rated" in owner.get("/judgebox/attention").content
        assert b"Every invoice can be issued" in owner.get("/judgebox/attention").content


class TestTryingAgain:
    def test_charges_what_it_comes_to_or_says_why_not(
        self, owner: Client, scene: scenes.Scene, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        counter, _ = stuck(scene)

        def too_large(*_: object) -> None:
            raise money.AmountTooLarge

        with monkeypatch.context() as broken:
            broken.setattr(rerating.folding, "fold", too_large)
            content = owner.post(f"{PATH}/try-again", sent(counter), follow=True).content.decode()
        assert "It still cannot be rated: The amount is too large." in content
        assert (
            "Rated: what it comes to is charged."
            in owner.post(f"{PATH}/try-again", sent(counter), follow=True).content.decode()
        )
        counter.refresh_from_db()
        assert (counter.parked_at, counter.unrated_since) == (None, None)
        entries = AuditEntry.objects.filter(action="counter.tried_again")
        assert [entry.changes["reason"] for entry in entries] == ["The amount is too large."] * 2
        again = owner.post(f"{PATH}/try-again", sent(counter), follow=True).content.decode()
        assert "It is rated already" in again

    def test_is_of_ones_own_alone(self, owner: Client, scene: scenes.Scene) -> None:
        counter, _ = stuck(scene)
        named = sent(counter)
        for wrong in (
            {},
            {**named, "subscription": ids.text("sub", ids.new())},
            {**named, "subscription": "sub_x"},
            {**named, "version": str(factories.metric(product=scene.product).id)},
            {**named, "period_end": "2026-01-01"},
        ):
            assert owner.post(f"{PATH}/try-again", wrong).status_code == 404
        assert owner.post("/judgebox/attention/try-again", named).status_code == 404

    def test_puts_an_invoice_back_on_the_schedule(self, owner: Client, scene: scenes.Scene) -> None:
        _, invoice = stuck(scene)
        page = f"/judgebox/test/invoices/{ids.text('inv', invoice.id)}"
        assert "Try again" in owner.get(page).content.decode()
        assert "tried again within a minute" in owner.post(f"{page}/retry", follow=True).content.decode()
        invoice.refresh_from_db()
        assert invoice.status != "failed"
        assert AuditEntry.objects.get(action="invoice.tried_again").actor.startswith("user:")
        assert "not parked" in owner.post(f"{page}/retry").content.decode()

    def test_is_for_those_who_may_write_invoices(self, scene: scenes.Scene) -> None:
        counter, _ = stuck(scene)
        registered = scenes.registration.Registered(
            scene.test.organization, scene.test, scene.live, scene.user, scene.secret
        )
        analyst = scenes.signed_in(scenes.colleague(registered=registered, role="analyst"))
        assert b"Try again</button>" not in analyst.get(PATH).content
        assert analyst.post(f"{PATH}/try-again", sent(counter)).status_code == 403
