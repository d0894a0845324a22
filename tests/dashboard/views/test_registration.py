"""How a merchant comes in."""

import pytest
from django.test import Client

from dashboard import first_key
from merchants.models import ApiKey, Membership, Merchant, Organization, User
from tests import scenes

FORM = {"organization": "Acme Compute", "email": "Founder@Acme.example", "password": scenes.PASSWORD}

pytestmark = pytest.mark.django_db


class TestSignUp:
    def test_founds_an_organization_with_both_merchants_and_signs_its_owner_in(self) -> None:
        client = Client()
        response = client.post("/accounts/signup/", FORM, follow=True)
        founded = Organization.objects.get(name="Acme Compute")
        assert response.redirect_chain == [(f"/{founded.slug}/test/", 302)]
        assert sorted(Merchant.objects.filter(organization=founded).values_list("mode", flat=True)) == ["live", "test"]
        assert Membership.objects.get(organization=founded).role == "owner"
        assert b"Get set up" in response.content

    def test_shows_the_first_key_once_and_keeps_no_copy(self) -> None:
        client = Client()
        first = client.post("/accounts/signup/", FORM, follow=True).content.decode()
        hint = ApiKey.objects.get().hint
        secret = next(word for word in first.replace("<", " ").replace(">", " ").split() if word.startswith("fth_sk_"))
        assert secret.endswith(hint[-4:])
        assert secret not in client.get("/acme-compute/test/").content.decode()
        assert secret not in str(dict(client.session))

    def test_hides_the_key_from_scripts_and_from_other_paths(self) -> None:
        cookie = Client().post("/accounts/signup/", FORM).cookies[first_key.COOKIE]
        assert cookie["httponly"]
        assert cookie["path"] == "/acme-compute/test/"
        assert cookie["max-age"] == first_key.LIFETIME_SECONDS

    @pytest.mark.parametrize(
        ("field", "value", "said"),
        [
            ("password", "short", "too short"),
            ("password", "password1234", "too common"),
            ("email", "nobody", "valid email"),
            ("organization", "", "required"),
        ],
    )
    def test_says_what_is_wrong_and_founds_nothing(self, field: str, value: str, said: str) -> None:
        response = Client().post("/accounts/signup/", {**FORM, field: value})
        assert said in response.content.decode()
        assert not Organization.objects.exists()
        assert not User.objects.exists()

    def test_refuses_an_address_that_is_taken(self) -> None:
        Client().post("/accounts/signup/", FORM)
        response = Client().post("/accounts/signup/", {**FORM, "organization": "Second"})
        assert b"Somebody is registered" in response.content
        assert Organization.objects.count() == 1

    def test_tires_of_somebody_who_never_stops(self) -> None:
        client = Client()
        answers = [client.post("/accounts/signup/", {**FORM, "email": "nobody"}).status_code for _ in range(25)]
        assert answers[0] == 200
        assert answers[-1] == 429

    def test_gives_no_organization_the_name_of_another_page(self) -> None:
        Client().post("/accounts/signup/", {**FORM, "organization": "Portal"})
        assert Organization.objects.get().slug.startswith("portal-")


@pytest.mark.parametrize("page", ["login", "signup"])
def test_the_first_pages_name_the_product(page: str) -> None:
    assert b"</span>Farthing</p>" in Client().get(f"/accounts/{page}/").content


class TestStart:
    def test_leads_to_the_sign_in_page(self) -> None:
        assert Client().get("/")["Location"] == "/accounts/login/"

    def test_leads_to_the_test_overview(self) -> None:
        made = scenes.register(now=scenes.NOW)
        assert scenes.signed_in(made.user).get("/")["Location"] == "/judgebox/test/"

    def test_says_so_where_there_is_no_organization(self) -> None:
        user = User.objects.create_user("lonely@example.com", scenes.PASSWORD)
        response = scenes.signed_in(user).get("/")
        assert response.status_code == 403
        assert b"You are in no organization" in response.content


class TestSignIn:
    def test_works_with_the_password_that_was_registered(self) -> None:
        scenes.register(now=scenes.NOW)
        client = Client()
        form = {"login": "owner@judgebox.example", "password": scenes.PASSWORD}
        assert client.post("/accounts/login/", form)["Location"] == "/"
        assert client.get("/judgebox/test/").status_code == 200

    def test_says_no_more_than_that_it_failed(self) -> None:
        scenes.register(now=scenes.NOW)
        for login in ("owner@judgebox.example", "nobody@judgebox.example"):
            response = Client().post("/accounts/login/", {"login": login, "password": "wrong password"})
            assert b"not correct" in response.content

    @pytest.mark.parametrize(
        "path", ["/accounts/login/", "/accounts/signup/", "/accounts/password/reset/", "/accounts/password/reset/done/"]
    )
    def test_pages_stand_in_our_look(self, path: str) -> None:
        assert b'class="alone"' in Client().get(path).content
