import pytest
from django.http import Http404, HttpResponse
from django.test import RequestFactory

from config import metrics


def scrape(rf: RequestFactory, address: str = "127.0.0.1", **headers: str) -> HttpResponse:
    return metrics.metrics(rf.get("/metrics", REMOTE_ADDR=address, headers=headers))


class TestMetrics:
    def test_answer_this_machine(self, rf: RequestFactory):
        response = scrape(rf)
        assert response.status_code == 200
        assert b"farthing_http_requests_total" in response.content

    @pytest.mark.parametrize("address", ["10.0.0.1", "203.0.113.9", "", "2001:db8::1"])
    def test_do_not_exist_for_others(self, rf: RequestFactory, address: str):
        with pytest.raises(Http404):
            scrape(rf, address)

    @pytest.mark.parametrize("header", metrics.FORWARDED_HEADERS)
    def test_do_not_exist_for_others_behind_a_local_proxy(self, rf: RequestFactory, header: str):
        with pytest.raises(Http404):
            scrape(rf, **{header: "203.0.113.9"})

    def test_answer_anyone_with_the_token_and_nobody_without(self, rf: RequestFactory, settings):
        settings.METRICS_TOKEN = "scrape-me"
        assert scrape(rf, "10.0.0.1", Authorization="Bearer scrape-me").status_code == 200
        for wrong in ({}, {"Authorization": "Bearer scrape-you"}, {"Authorization": "scrape-me"}):
            with pytest.raises(Http404):
                scrape(rf, **wrong)
