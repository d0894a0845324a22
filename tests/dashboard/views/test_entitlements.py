"""Features, entitlements and grants in the dashboard."""

import uuid
from datetime import timedelta
from typing import Any

import pytest
from django.test import Client
from django.utils import timezone

from entitlements.models import Entitlement, Feature, Grant
from merchants import ids
from merchants.models import AuditEntry, Membership, User
from tests import scenes


def path(scene: scenes.Scene, rest: str = "", *, buyer: int = 0) -> str:
    return f"/{scene.slug}/test/customers/{ids.text('cus', scene.buyers[buyer].customer.id)}{rest}"


def feature(owner: Client, scene: scenes.Scene, key: str, kind: str, *, counts: bool = False) -> Feature:
    """Make a feature as a person does."""
    metric = ids.text("bm", scene.metrics[0].id) if counts else ""
    product = ids.text("prod", scene.metrics[0].product_id)
    form = {"name": key.title(), "key": key, "type": kind, "metric": metric}
    response = owner.post(f"/{scene.slug}/test/products/{product}/features/new", form)
    assert response.status_code == 302, response.context["form"].errors
    return Feature.objects.get(key=key)


def entitled(owner: Client, scene: scenes.Scene, of: Feature, **fields: Any) -> Entitlement:
    form = {"feature": ids.text("feat", of.id), "period": "P1M", "units": "", "rollover": "", "config": "", **fields}
    response = owner.post(path(scene, "/entitlements/new"), form)
    assert response.status_code == 302, response.context["form"].errors
    return Entitlement.objects.get(feature=of)


def page(scene: scenes.Scene, of: Entitlement, rest: str = "") -> str:
    return path(scene, f"/entitlements/{ids.text('ent', of.id)}{rest}")


def granting(**fields: Any) -> dict[str, Any]:
    return {"key": str(uuid.uuid4()), "amount": "100", "priority": "1", "expires_at": "", "rollover": "", **fields}


class TestFeatures:
    def test_are_made_on_their_products_page(self, owner: Client, scene: scenes.Scene) -> None:
        made = feature(owner, scene, "runs", "metered", counts=True)
        assert (made.type, made.metric_id) == ("metered", scene.metrics[0].id)
        product = owner.get(f"/{scene.slug}/test/products/{ids.text('prod', made.product_id)}")
        assert b"Runs" in product.content

    @pytest.mark.parametrize(
        ("fields", "field"),
        [
            ({"key": "Not a key"}, "key"),
            ({"type": "boolean", "metric": "first"}, "metric"),
            ({"metric": "x"}, "metric"),
        ],
    )
    def test_say_what_is_wrong(self, owner: Client, scene: scenes.Scene, fields: dict[str, str], field: str) -> None:
        product, metric = scene.metrics[0].product_id, ids.text("bm", scene.metrics[0].id)
        form = {"name": "Runs", "key": "runs", "type": "metered", "metric": "", **fields}
        form["metric"] = form["metric"].replace("first", metric)
        answer = owner.post(f"/{scene.slug}/test/products/{ids.text('prod', product)}/features/new", form)
        assert list(answer.context["form"].errors) == [field]
        assert not Feature.objects.filter(name="Runs").exists()


class TestEntitling:
    def test_gives_units_in_each_period_and_lets_them_all_roll_over(self, owner: Client, scene: scenes.Scene) -> None:
        made = entitled(owner, scene, feature(owner, scene, "runs", "metered", counts=True), units="500", is_soft="on")
        assert made.template == {
            "type": "metered",
            "usagePeriod": {"interval": "P1M"},
            "isSoftLimit": True,
            "preserveOverageAtReset": False,
            "issueAfterReset": 500,
            "resetMaxRollover": 500,
        }
        content = owner.get(page(scene, made)).content.decode()
        assert "500 submissions" in content
        assert "Use beyond that is charged" in content
        assert "500 submissions" in owner.get(path(scene)).content.decode()

    def test_configures_what_is_configured(self, owner: Client, scene: scenes.Scene) -> None:
        made = entitled(owner, scene, feature(owner, scene, "seats", "static"), config='{"seats": 25}')
        assert made.config == {"seats": 25}
        assert b"seats" in owner.get(page(scene, made)).content

    @pytest.mark.parametrize("config", ["{", "[1]", "[" * 2_000])
    def test_refuses_what_is_no_configuration(self, owner: Client, scene: scenes.Scene, config: str) -> None:
        of = feature(owner, scene, "seats", "static")
        form = {"feature": ids.text("feat", of.id), "period": "P1M", "config": config}
        answer = owner.post(path(scene, "/entitlements/new"), form)
        assert list(answer.context["form"].errors) == ["config"]

    def test_refuses_a_second_one(self, owner: Client, scene: scenes.Scene) -> None:
        of = feature(owner, scene, "beta", "boolean")
        entitled(owner, scene, of)
        answer = owner.post(path(scene, "/entitlements/new"), {"feature": ids.text("feat", of.id), "period": "P1M"})
        assert "entitled to this feature already" in answer.content.decode()

    def test_says_where_to_begin(self, owner: Client, scene: scenes.Scene) -> None:
        Feature.objects.all().delete()
        assert b"None of your products has a feature" in owner.get(path(scene, "/entitlements/new")).content
        assert b"Nothing is included" in owner.get(path(scene)).content

    def test_ends_after_a_question(self, owner: Client, scene: scenes.Scene) -> None:
        made = entitled(owner, scene, feature(owner, scene, "beta", "boolean"))
        assert b"Keep it" in owner.get(page(scene, made, "/end")).content
        owner.post(page(scene, made, "/end"))
        made.refresh_from_db()
        assert made.status == Entitlement.Status.CANCELED
        shown = owner.get(page(scene, made)).content
        assert b"Canceled" in shown
        assert b"/end" not in shown

    def test_is_not_for_analysts(self, owner: Client, scene: scenes.Scene) -> None:
        made = entitled(owner, scene, feature(owner, scene, "runs", "metered", counts=True))
        user = User.objects.create_user("analyst@judgebox.example")
        Membership.objects.create(organization=scene.test.organization, user=user, role="analyst")
        analyst = scenes.signed_in(user)
        assert b"Grant units" not in analyst.get(page(scene, made)).content
        assert analyst.post(page(scene, made, "/grants/new"), granting()).status_code == 403

    def test_shows_nothing_of_another_customers(self, owner: Client, scene: scenes.Scene) -> None:
        made = entitled(owner, scene, feature(owner, scene, "beta", "boolean"))
        theirs = path(scene, f"/entitlements/{ids.text('ent', made.id)}", buyer=1)
        assert owner.get(theirs).status_code == 404
        assert owner.post(f"{theirs}/end").status_code == 404


class TestGrants:
    def test_add_units_once_however_often_the_form_is_sent(self, owner: Client, scene: scenes.Scene) -> None:
        made = entitled(owner, scene, feature(owner, scene, "runs", "metered", counts=True))
        form = granting(expires_at=(timezone.now() + timedelta(days=30)).strftime("%Y-%m-%dT%H:%M"))
        for _ in range(2):
            answer = owner.post(page(scene, made, "/grants/new"), form, follow=True)
        assert b"Units granted." in answer.content
        assert Grant.objects.filter(entitlement_id=made.id).count() == 1
        assert b"100 submissions" in answer.content

    def test_say_what_is_wrong(self, owner: Client, scene: scenes.Scene) -> None:
        made = entitled(owner, scene, feature(owner, scene, "runs", "metered", counts=True))
        for fields, field in (({"amount": "0"}, "amount"), ({"expires_at": "2001-01-01T00:00"}, "expires_at")):
            answer = owner.post(page(scene, made, "/grants/new"), granting(**fields))
            assert list(answer.context["form"].errors) == [field]
        assert not Grant.objects.filter(entitlement_id=made.id).exists()

    def test_are_voided_after_a_question(self, owner: Client, scene: scenes.Scene) -> None:
        made = entitled(owner, scene, feature(owner, scene, "runs", "metered", counts=True))
        owner.post(page(scene, made, "/grants/new"), granting())
        grant = Grant.objects.get(entitlement_id=made.id)
        target = page(scene, made, f"/grants/{ids.text('grt', grant.id)}/void")
        assert b"Keep it" in owner.get(target).content
        shown = owner.post(target, follow=True).content
        grant.refresh_from_db()
        assert grant.voided_at is not None
        actions = AuditEntry.objects.filter(action__startswith="entitlement.").order_by("number")
        assert [entry.action.partition(".")[2] for entry in actions] == ["issued", "granted", "grant_voided"]
        assert b"Voided" in shown

    def test_are_only_of_what_is_metered(self, owner: Client, scene: scenes.Scene) -> None:
        made = entitled(owner, scene, feature(owner, scene, "beta", "boolean"))
        assert owner.get(page(scene, made, "/grants/new")).status_code == 404
