"""The first page: the way there, then the figures."""

import re

from django.test import Client

from merchants import ids
from tests import scenes

PAGE_QUERIES_MAX = 25


class TestShow:
    def test_leads_a_new_merchant_step_by_step(self, quiet: scenes.Scene) -> None:
        client = scenes.signed_in(quiet.user)
        live = client.get("/judgebox/").content.decode()
        assert "1 of 6 done" in live
        assert "Create product" in live
        assert live.count("btn primary") == 1
        test = client.get("/judgebox/test/").content.decode()
        assert "4 of 7 done" in test
        assert "Add customer" in test

    def test_hands_over_a_request_that_can_be_sent_as_it_is(self, scene: scenes.Scene, owner: Client) -> None:
        from dashboard import onboarding

        steps = onboarding.steps(merchant=scene.test, link=str, url="https://pay.example", secret="fth_sk_test_x")
        assert "fth_sk_test_x" in steps[-1].request
        assert ids.text("org", scene.test.id) in steps[-1].request
        assert steps[-1].is_next

    def test_shows_figures_once_there_are_any(self, scene: scenes.Scene, owner: Client) -> None:
        content = owner.get("/judgebox/test/").content.decode()
        assert "Prepaid balance" in content
        assert content.count("<figure") == 2
        assert "Northwind Labs" in content

    def test_turns_the_first_steps_into_figures_when_the_first_event_comes(
        self, scene: scenes.Scene, owner: Client
    ) -> None:
        response = owner.get("/judgebox/test/", headers={"HX-Request": "true", "HX-Target": "steps"})
        assert (response.status_code, response["HX-Refresh"]) == (204, "true")

    def test_answers_a_swap_with_the_body_alone(self, scene: scenes.Scene, owner: Client) -> None:
        response = owner.get("/judgebox/test/?range=7d", headers={"HX-Request": "true"})
        assert response.content.strip().startswith(b'<div id="body"')
        assert response["Vary"].count("HX-Request") == 1

    def test_answers_the_back_button_with_the_whole_page(self, scene: scenes.Scene, owner: Client) -> None:
        headers = {"HX-Request": "true", "HX-History-Restore-Request": "true"}
        assert b"<html" in owner.get("/judgebox/test/?range=7d", headers=headers).content

    def test_takes_a_bounded_number_of_queries(
        self, scene: scenes.Scene, owner: Client, django_assert_max_num_queries: object
    ) -> None:
        with django_assert_max_num_queries(PAGE_QUERIES_MAX):  # type: ignore[operator]
            owner.get("/judgebox/test/")

    def test_survives_any_query_string(self, scene: scenes.Scene, owner: Client) -> None:
        for query in ("range=&currency=", "range=1000d", "currency=%00", "range=24h&currency=EUR"):
            assert owner.get(f"/judgebox/test/?{query}").status_code == 200


class TestLive:
    def test_is_silent_until_something_changes(self, scene: scenes.Scene, owner: Client) -> None:
        page = owner.get("/judgebox/test/").content.decode()
        found = re.search(r'hx-get="(/judgebox/test/live-events[^"]+)"', page)
        assert found
        assert owner.get(found[1], headers={"HX-Request": "true"}).status_code == 204
        assert owner.get("/judgebox/test/live-events?seen=none", headers={"HX-Request": "true"}).status_code == 200


class TestSearch:
    def test_opens_what_an_id_names(self, scene: scenes.Scene, owner: Client) -> None:
        customer = ids.text("cus", scene.buyers[0].customer.id)
        response = owner.get("/judgebox/test/search", {"q": f" {customer} "})
        assert response["Location"] == f"/judgebox/test/customers/{customer}"

    def test_looks_for_customers_otherwise(self, scene: scenes.Scene, owner: Client) -> None:
        response = owner.get("/judgebox/test/search", {"q": "north & co"})
        assert response["Location"] == "/judgebox/test/customers?q=north+%26+co"
