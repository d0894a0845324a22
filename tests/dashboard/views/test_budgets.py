"""A customer's budgets in the dashboard."""

from typing import Any

import pytest
from django.test import Client

from entitlements.models import Budget
from merchants import ids
from merchants.models import AuditEntry, Membership, User
from tests import scenes


def path(scene: scenes.Scene, rest: str = "", *, buyer: int = 0) -> str:
    return f"/{scene.slug}/test/customers/{ids.text('cus', scene.buyers[buyer].customer.id)}{rest}"


def path_of(scene: scenes.Scene, name: str, rest: str = "") -> str:
    return path(scene, f"/budgets/{ids.text('bgt', Budget.objects.get(name=name).id)}{rest}")


def new(**fields: Any) -> dict[str, Any]:
    """A form as a browser sends it."""
    filled = {"name": "Day", "scope": "agent", "value": "", "counts": "USD", "limit": "12.5", "window": "day"}
    return {**filled, "enforcement": "hard", **fields}


class TestTheList:
    def test_does_not_round_what_is_used_to_all_there_is(self, owner: Client, scene: scenes.Scene) -> None:
        scenes.was_spent(99_999_000_000)
        assert "$99.999" in owner.get(path(scene)).content.decode()

    def test_says_what_is_limited_and_how_far_it_is_used(self, owner: Client, scene: scenes.Scene) -> None:
        content = owner.get(path(scene)).content.decode()
        for words in (
            "Monthly cap",
            "$100.00 a month",
            "$61.50",
            "71% used: Monthly cap",
            "Each agent",
            "500 submissions a day",
            "Every call, Premium submissions, set by the customer",
        ):
            assert words in content, words

    def test_says_when_there_are_none(self, owner: Client, scene: scenes.Scene) -> None:
        assert b"No budgets" in owner.get(path(scene, buyer=1)).content

    def test_changes_by_itself(self, owner: Client, scene: scenes.Scene) -> None:
        stamps = []
        for spent in (1, 2 * scenes.NANOS):
            scenes.was_spent(spent)
            stamps.append(owner.get(path(scene)).context["stamp"])
        assert stamps[0] != stamps[1]


class TestNew:
    def test_sets_a_limit(self, owner: Client, scene: scenes.Scene) -> None:
        response = owner.post(path(scene, "/budgets/new", buyer=1), new(), follow=True)
        assert b"Budget set." in response.content
        made = Budget.objects.get(name="Day")
        assert (made.scope, made.value, made.currency, made.limit, made.window, made.enforcement, made.set_by) == (
            "agent",
            None,
            "USD",
            12_500_000_000,
            "day",
            "hard",
            "merchant",
        )

    def test_limits_the_units_of_a_metric(self, owner: Client, scene: scenes.Scene) -> None:
        metric = scene.metrics[0]
        owner.post(path(scene, "/budgets/new"), new(counts=ids.text("bm", metric.id), value="research"))
        made = Budget.objects.get(name="Day")
        assert (made.metric_id, made.currency, made.value) == (metric.id, None, "research")

    @pytest.mark.parametrize(
        "fields",
        [{"limit": "-1"}, {"limit": "x"}, {"counts": "bm_x"}, {"window": "week"}, {"scope": "customer", "value": "a"}],
    )
    def test_says_what_is_wrong_and_sets_nothing(
        self, owner: Client, scene: scenes.Scene, fields: dict[str, str]
    ) -> None:
        before = Budget.objects.count()
        response = owner.post(path(scene, "/budgets/new"), new(**fields))
        assert response.status_code == 200
        assert response.context["form"].errors
        assert Budget.objects.count() == before

    def test_is_not_for_analysts(self, scene: scenes.Scene) -> None:
        user = User.objects.create_user("analyst@judgebox.example")
        Membership.objects.create(organization=scene.test.organization, user=user, role="analyst")
        analyst = scenes.signed_in(user)
        assert analyst.get(path(scene)).status_code == 200
        assert b"Add budget" not in analyst.get(path(scene)).content
        assert analyst.post(path(scene, "/budgets/new"), new()).status_code == 403


class TestOne:
    def test_lists_who_has_used_how_much(self, owner: Client, scene: scenes.Scene) -> None:
        content = owner.get(path_of(scene, "Agents")).content.decode()
        assert "research" in content
        assert "100% used" in content

    def test_changes_what_may_change(self, owner: Client, scene: scenes.Scene) -> None:
        form = {"name": "Cap", "limit": "80", "enforcement": "soft"}
        response = owner.post(path_of(scene, "Monthly cap"), form, follow=True)
        assert b"Budget changed." in response.content
        changed = Budget.objects.get(name="Cap")
        noted = AuditEntry.objects.get(action="budget.changed")
        assert (noted.changes["before"]["name"], noted.changes["after"]["name"]) == ("Monthly cap", "Cap")
        assert (changed.limit, changed.enforcement, changed.enabled) == (80 * scenes.NANOS, "soft", False)

    def test_is_archived_after_a_question(self, owner: Client, scene: scenes.Scene) -> None:
        target = path_of(scene, "Monthly cap", "/archive")
        assert b"Archive budget" in owner.get(target).content
        response = owner.post(target, follow=True)
        assert b"is archived" in response.content
        assert owner.get(target).status_code == 404

    def test_of_another_customer_does_not_exist(self, owner: Client, scene: scenes.Scene) -> None:
        budget = ids.text("bgt", Budget.objects.get(name="Monthly cap").id)
        assert owner.get(path(scene, f"/budgets/{budget}", buyer=1)).status_code == 404
