"""One subscription from a browser: another plan for it, fees beside its plan's, and its trial."""

import pytest
from django.test import Client

from billing.models import AddOn, Plan, PlanChange, Subscription
from merchants import ids
from merchants.models import AuditEntry
from tests import factories, scenes


def path_of(scene: scenes.Scene) -> str:
    buyer = scene.buyers[0]
    customer, subscription = ids.text("cus", buyer.customer.id), ids.text("sub", buyer.subscription.id)
    return f"/{scene.slug}/test/customers/{customer}/subscriptions/{subscription}"


@pytest.fixture
def fee(scene: scenes.Scene):
    plan = scene.buyers[0].subscription.plan
    return factories.price(
        fee=factories.fee(product=plan.product, name="Seats"), unit_price="9", term="in_advance", cadence="P1M"
    )


@pytest.fixture
def other(scene: scenes.Scene, fee) -> Plan:
    return factories.plan(product=scene.buyers[0].subscription.plan.product, prices=[fee], name="Pro")


class TestSettings:
    def test_are_changed_and_shown(self, owner: Client, scene: scenes.Scene) -> None:
        form = {
            "auto_charge": "on", "tax_exempt": "on", "minimum_balance": "12.50", "reminder": "no", "reminder_days": "",
        }  # fmt: skip
        content = owner.post(f"{path_of(scene)}/settings", form, follow=True).content.decode()
        assert "Yes, by the saved card" in content
        assert "<dd>Exempt</dd>" in content
        changed = Subscription.objects.get(id=scene.buyers[0].subscription.id)
        assert (changed.minimum_balance, changed.renewal_reminder_enabled) == (12_500_000_000, False)
        entry = AuditEntry.objects.get(action="subscription.changed")
        assert entry.changes["tax_exempt"] == {"before": False, "after": True}
        shown = owner.get(f"{path_of(scene)}/settings").content.decode()
        assert 'value="12.50"' in shown

    def test_say_beside_the_field_what_cannot_be(self, owner: Client, scene: scenes.Scene) -> None:
        answer = owner.post(f"{path_of(scene)}/settings", {"minimum_balance": "5001", "reminder": "plan"})
        assert "may be at most 5000" in str(answer.context["form"].errors["minimum_balance"])


class TestPlans:
    def test_are_changed_once_it_was_shown_what_that_comes_to(
        self, owner: Client, scene: scenes.Scene, other: Plan
    ) -> None:
        path = path_of(scene)
        assert "The plan was never changed" in owner.get(path).content.decode()
        wanted = {"plan": other.id, "effective": "now"}
        shown = owner.post(f"{path}/plan", wanted).content.decode()
        assert "In all, tax included" in shown
        assert not PlanChange.objects.exists()
        done = owner.post(f"{path}/plan", {**wanted, "sure": "1"}, follow=True).content.decode()
        assert "Plan changed." in done
        assert "Pro, version 1" in done
        assert Subscription.objects.get(id=scene.buyers[0].subscription.id).plan == other

    def test_of_the_end_of_the_period_are_called_off(self, owner: Client, scene: scenes.Scene, other: Plan) -> None:
        path = path_of(scene)
        owner.post(f"{path}/plan", {"plan": other.id, "effective": "period_end", "sure": "1"})
        change = PlanChange.objects.get()
        assert "Call off" in owner.get(path).content.decode()
        done = owner.post(f"{path}/plan/{ids.text('pch', change.id)}/call-off", follow=True).content.decode()
        assert "The plan stays as it is." in done
        assert PlanChange.objects.get().status == "cancelled"

    def test_that_cannot_follow_are_refused_beside_the_field(self, owner: Client, scene: scenes.Scene, fee) -> None:
        product = scene.buyers[0].subscription.plan.product
        yearly = factories.plan(product=product, prices=[fee], billing_cadence="P1Y")
        shown = owner.post(f"{path_of(scene)}/plan", {"plan": yearly.id, "effective": "now"}).content.decode()
        assert "changes at the end of a period" in shown

    def test_of_other_currencies_are_no_choice(self, owner: Client, scene: scenes.Scene) -> None:
        for currency, name in (("EUR", "Elsewhere"), ("USD", "Here")):
            price = factories.price(fee=factories.fee(product=scene.product))
            factories.plan(product=scene.product, prices=[price], currency=currency, name=name)
        form = owner.get(f"{path_of(scene)}/plan").content.decode()
        assert ">Here</option>" in form
        assert "Elsewhere" not in form

    def test_of_others_are_no_choice(self, owner: Client, scene: scenes.Scene) -> None:
        stranger = factories.plan(product=factories.product(merchant=factories.merchant()))
        owner.post(f"{path_of(scene)}/plan", {"plan": stranger.id, "effective": "now", "sure": "1"})
        assert not PlanChange.objects.exists()


class TestAddOns:
    def test_are_added_and_ended(self, owner: Client, scene: scenes.Scene, fee) -> None:
        path = path_of(scene)
        shown = owner.post(f"{path}/add-ons/new", {"price": fee.price_id, "quantity": "3"}, follow=True)
        assert "Seats" in shown.content.decode()
        made = AddOn.objects.get()
        assert made.quantity == 3
        done = owner.post(f"{path}/add-ons/{ids.text('add', made.id)}/end", follow=True).content.decode()
        assert "Fee ended." in done
        assert AddOn.objects.get().ends_at is not None

    def test_cost_what_they_do_in_the_currency_of_the_subscription(self, owner: Client, scene: scenes.Scene) -> None:
        abroad = factories.abroad(scene.product)
        factories.price(fee=factories.fee(product=scene.product, name="Only here"), unit_price="5", cadence="P1M")
        plan = factories.plan(product=scene.product, prices=[abroad], name="Everywhere")
        assert "Desk: $11.00 every month" in owner.get(f"{path_of(scene)}/add-ons/new").content.decode()
        buyer = scene.buyers[0]
        version = plan.versions.get(is_option=True)
        Subscription.objects.filter(id=buyer.subscription.id).update(plan=plan, plan_version=version, currency="EUR")
        form = owner.get(f"{path_of(scene)}/add-ons/new").content.decode()
        assert "Desk: €9.50 every month" in form
        assert "Only here" not in form


def test_a_trial_is_told_of(owner: Client, scene: scenes.Scene) -> None:
    form = {"name": "Tried", "product": scene.buyers[0].subscription.plan.product_id, "currency": "USD"}
    owner.post(
        f"/{scene.slug}/test/plans/new", {**form, "billing_cadence": "P1M", "trial_days": 14, "trial_end": "terminate"}
    )
    plan = Plan.objects.get(name="Tried")
    assert plan.versions.get().trial_days == 14
    shown = owner.get(f"/{scene.slug}/test/plans/{ids.text('plan', plan.id)}").content.decode()
    assert "14 days, use free; then it ends without enough balance" in shown
