"""Who may look at which page."""

import pytest
from django.test import Client
from django.urls import reverse

from merchants.models import Membership
from tests import scenes
from tests.scenes import NOW, signed_in

PAGES = [
    "overview", "events", "customers", "customer-new", "products", "product-new", "metrics", "metric-new", "plans",
    "plan-new", "keys", "key-new", "organization", "account", "live", "search",
    "team", "invite", "audit-log", "leave", "events-export", "customers-export", "invoices",
]  # fmt: skip


def path(scene: scenes.Scene, name: str, mode: str = "test") -> str:
    return reverse(f"{mode}:{name}", args=[scene.slug])


class TestPage:
    @pytest.mark.parametrize("name", PAGES)
    def test_asks_strangers_to_sign_in(self, quiet: scenes.Scene, name: str) -> None:
        response = Client().get(path(quiet, name))
        assert response.status_code == 302
        assert response["Location"].startswith("/accounts/login/?next=")

    @pytest.mark.parametrize("name", PAGES)
    @pytest.mark.parametrize("mode", ["test", "live"])
    def test_does_not_exist_for_members_of_other_organizations(self, quiet: scenes.Scene, name: str, mode: str) -> None:
        other = scenes.register(now=NOW, name="Other", email="other@example.com")
        assert signed_in(other.user).get(path(quiet, name, mode)).status_code == 404

    @pytest.mark.parametrize("state", [Membership.State.INVITED, Membership.State.SUSPENDED])
    def test_does_not_exist_for_members_who_are_not_active(self, quiet: scenes.Scene, state: str) -> None:
        Membership.objects.filter(user=quiet.user).update(state=state)
        assert signed_in(quiet.user).get(path(quiet, "overview")).status_code == 404

    @pytest.mark.parametrize("mode", ["test", "live"])
    @pytest.mark.parametrize("name", PAGES)
    def test_opens_for_the_owner_in_both_modes(self, quiet: scenes.Scene, name: str, mode: str) -> None:
        assert signed_in(quiet.user).get(path(quiet, name, mode)).status_code in {200, 302}

    def test_is_never_kept_in_a_cache(self, quiet: scenes.Scene) -> None:
        assert signed_in(quiet.user).get(path(quiet, "overview"))["Cache-Control"] == "private, no-store"

    def test_takes_no_form_where_there_is_none(self, quiet: scenes.Scene) -> None:
        assert signed_in(quiet.user).post(path(quiet, "events")).status_code == 405


class TestRoles:
    def client(self, quiet: scenes.Scene, role: str) -> Client:
        Membership.objects.filter(user=quiet.user).update(role=role)
        return signed_in(quiet.user)

    @pytest.mark.parametrize(
        ("role", "name"),
        [
            ("analyst", "team"),
            ("developer", "invite"),
            ("developer", "audit-log"),
            ("analyst", "keys"),
            ("analyst", "key-new"),
            ("analyst", "customer-new"),
            ("analyst", "plan-new"),
        ],
    )
    def test_are_told_in_place_what_they_may_not_see(self, quiet: scenes.Scene, role: str, name: str) -> None:
        response = self.client(quiet, role).get(path(quiet, name))
        assert response.status_code == 403
        assert b"Your role does not include this" in response.content

    @pytest.mark.parametrize("name", ["keys", "key-new", "customer-new", "product-new"])
    def test_that_may_write_find_the_page(self, quiet: scenes.Scene, name: str) -> None:
        assert self.client(quiet, "developer").get(path(quiet, name)).status_code == 200

    def test_cannot_send_what_they_cannot_see(self, quiet: scenes.Scene) -> None:
        response = self.client(quiet, "analyst").post(path(quiet, "product-new"), {"name": "Sneaky"})
        assert response.status_code == 403
        assert not quiet.test.products.filter(name="Sneaky").exists()

    def test_do_not_see_actions_they_may_not_take(self, quiet: scenes.Scene) -> None:
        for name, action in (
            ("customers", b"Add customer"),
            ("products", b"Create product"),
            ("plans", b"Create plan"),
        ):
            assert action not in self.client(quiet, "analyst").get(path(quiet, name)).content
            assert action in self.client(quiet, "owner").get(path(quiet, name)).content


class TestModes:
    def test_are_apart(self, owner: Client, scene: scenes.Scene) -> None:
        assert scene.buyers[0].customer.name.encode() in owner.get(path(scene, "customers")).content
        assert scene.buyers[0].customer.name.encode() not in owner.get(path(scene, "customers", "live")).content

    def test_test_mode_is_always_on_screen(self, owner: Client, scene: scenes.Scene) -> None:
        for name in ("overview", "events", "keys", "organization"):
            assert b'class="mode test"' in owner.get(path(scene, name)).content
            assert b'class="mode test"' not in owner.get(path(scene, name, "live")).content

    def test_links_stay_in_their_mode(self, owner: Client, scene: scenes.Scene) -> None:
        live = owner.get(path(scene, "customers", "live")).content.decode()
        assert f'href="/{scene.slug}/events"' in live
        assert live.count(f"/{scene.slug}/test/") == 1  # the switch
