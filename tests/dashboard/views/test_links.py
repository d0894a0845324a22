"""The pages of payment links, authorization links and allowed sites."""

from typing import TYPE_CHECKING

from billing.models import Authorization
from merchants.models import Merchant
from tests import factories, scenes

if TYPE_CHECKING:
    from django.test import Client

    from tests.scenes import Scene


def home(scene: "Scene") -> str:
    return f"/{scene.slug}/test"


class TestPaymentLinks:
    def test_are_made_switched_off_and_on(self, scene: "Scene", owner: "Client") -> None:
        wanted = {"description": "A report", "amount": "9", "currency": "usd", "max_uses": "3"}
        made = owner.post(f"{home(scene)}/payment-links/new", wanted, follow=True)
        assert b"Payment link created" in made.content
        assert b"Nobody has opened it to pay yet" in made.content
        assert b"A report" in owner.get(f"{home(scene)}/payment-links").content
        path = made.redirect_chain[-1][0]
        assert b"This link is switched off." in owner.post(path, follow=True).content
        assert b"The link is switched on." in owner.post(path, follow=True).content

    def test_say_why_one_cannot_be_made(self, scene: "Scene", owner: "Client") -> None:
        Merchant.objects.filter(id=scene.test.id).update(allowed_origins=["https://shop.example"])
        wanted = {"description": "A", "amount": "9", "currency": "USD", "success_url": "https://evil.example/"}
        answer = owner.post(f"{home(scene)}/payment-links/new", wanted)
        assert b"not on a site that you allow" in answer.content

    def test_are_not_made_by_who_may_only_read(self, scene: "Scene", owner: "Client") -> None:
        analyst = scenes.signed_in(scenes.colleague(registered=scenes_registered(scene), role="analyst"))
        assert analyst.get(f"{home(scene)}/payment-links").status_code == 200
        assert analyst.get(f"{home(scene)}/payment-links/new").status_code == 403


def scenes_registered(scene: "Scene") -> "scenes.registration.Registered":
    return scenes.registration.Registered(scene.test.organization, scene.test, scene.live, scene.user, scene.secret)


class TestAuthorizations:
    def test_are_made_and_revoked(self, scene: "Scene", owner: "Client") -> None:
        wanted = {"email": "Ada@northwind.example", "plan": str(scene.plan.id), "minimum_balance": "20"}
        wanted["auto_charge"] = "on"
        made = owner.post(f"{home(scene)}/authorizations/new", wanted, follow=True)
        assert b"Link for Ada@northwind.example created" in made.content
        assert Authorization.objects.get(email="ada@northwind.example").auto_charge
        path = made.content.decode().split("/revoke")[0].rpartition('"')[2] + "/revoke"
        assert b"Revoke link" in owner.get(path).content
        assert b"opens nothing any more" in owner.post(path, follow=True).content
        assert b"It was" not in owner.get(path).content

    def test_are_in_one_of_the_plans_currencies(self, scene: "Scene", owner: "Client") -> None:
        abroad = factories.plan(product=scene.product, prices=[factories.abroad(scene.product)])
        wanted = {"email": "ada@northwind.example", "plan": f"{abroad.id}:EUR"}
        owner.post(f"{home(scene)}/authorizations/new", wanted)
        assert Authorization.objects.get().currency == "EUR"

    def test_offer_the_merchants_own_plans_alone(self, scene: "Scene", owner: "Client") -> None:
        stranger = scenes.catalogue(
            scenes.register(now=scenes.NOW, name="Else", email="else@example.com"), now=scenes.NOW
        )
        wanted = {"email": "ada@northwind.example", "plan": str(stranger.plan.id)}
        answer = owner.post(f"{home(scene)}/authorizations/new", wanted)
        assert b"Select a valid choice" in answer.content


class TestAllowedSites:
    def test_are_set_all_at_once(self, scene: "Scene", owner: "Client") -> None:
        path = f"{home(scene)}/settings/allowed-sites"
        answer = owner.post(path, {"origins": "https://Shop.example/\nhttp://localhost:3000"}, follow=True)
        assert b"http://localhost:3000, https://shop.example" in answer.content
        assert b"must be an https origin" in owner.post(path, {"origins": "https://shop.example/path"}).content
        assert b"must be an https origin" in owner.post(path, {"origins": "http://shop.example"}).content
