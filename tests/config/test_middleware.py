import logging

import pytest
from django.core.cache import cache
from django.http import HttpRequest, HttpResponse
from django.test import Client, RequestFactory
from redis.exceptions import ConnectionError as RedisIsAway

from config.middleware import REQUESTS, OutageMiddleware, RequestIdMiddleware, RequestMetricsMiddleware
from merchants import request_ids


class TestRequestIdMiddleware:
    def respond(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(request_ids.current.get())

    def test_echoes_the_clients_id_and_shows_it_to_everything_inside(self, rf: RequestFactory):
        request = rf.get("/", headers={"X-Request-Id": "client-0001"})
        response = RequestIdMiddleware(self.respond)(request)
        assert request.request_id == "client-0001"
        assert response.headers["X-Request-Id"] == "client-0001"
        assert response.content == b"client-0001"

    def test_makes_an_id_where_the_clients_is_unfit(self, rf: RequestFactory):
        response = RequestIdMiddleware(self.respond)(rf.get("/", headers={"X-Request-Id": "no\tgood"}))
        assert response.headers["X-Request-Id"].startswith("req_")

    def test_forgets_the_id_after_the_request_also_when_it_fails(self, rf: RequestFactory):
        def fail(request: HttpRequest) -> HttpResponse:
            raise LookupError

        with pytest.raises(LookupError):
            RequestIdMiddleware(fail)(rf.get("/"))
        assert request_ids.current.get() == ""


class TestRequestMetricsMiddleware:
    def test_counts_under_the_route_not_the_path(self, rf: RequestFactory):
        def respond(request: HttpRequest) -> HttpResponse:
            request.resolver_match = type("Match", (), {"route": "v0/customers/<id>"})()
            return HttpResponse(status=418)

        counter = REQUESTS.labels("GET", "v0/customers/<id>", "418")
        before = counter._value.get()
        RequestMetricsMiddleware(respond)(rf.get("/v0/customers/cus_1"))
        assert counter._value.get() == before + 1


class TestOutageMiddleware:
    @pytest.mark.django_db
    def test_lets_nobody_sign_in_uncounted_and_says_to_come_back(
        self, client: Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ):
        def fail(*args: object, **kwargs: object) -> None:
            raise RedisIsAway("Connection refused.")

        monkeypatch.setattr(type(cache._connections["default"]), "get", fail)  # type: ignore[attr-defined]
        with caplog.at_level(logging.CRITICAL):
            answer = client.post("/accounts/login/", {"login": "a@example.test", "password": "not the password"})

        assert answer.status_code == 503
        assert answer.headers["Retry-After"] == "5"
        assert "Back in a moment" in answer.content.decode()

    def test_leaves_other_faults_to_their_handler(self, rf: RequestFactory):
        middleware = OutageMiddleware(lambda request: HttpResponse())

        assert middleware.process_exception(rf.get("/"), LookupError()) is None
