"""Every fault in one shape."""

import pytest
from django.core.exceptions import PermissionDenied
from django.db import DataError, IntegrityError, OperationalError
from django.http import Http404
from django.test import Client, RequestFactory
from psycopg import errors as postgres
from rest_framework import exceptions

from config import errors
from tests.callers import caller


def caused(error: Exception, cause: Exception | None) -> Exception:
    error.__cause__ = cause
    return error


class TestTranslate:
    @pytest.mark.parametrize(
        ("error", "status", "code"),
        [
            (Http404(), 404, "NOT_FOUND"),
            (PermissionDenied(), 403, "FORBIDDEN"),
            (exceptions.NotAuthenticated(), 401, "UNAUTHORIZED"),
            (exceptions.ParseError(), 400, "VALIDATION_FAILED"),
            (exceptions.UnsupportedMediaType("text/plain"), 415, "UNSUPPORTED_MEDIA_TYPE"),
            (exceptions.MethodNotAllowed("PUT"), 405, "METHOD_NOT_ALLOWED"),
            (caused(OperationalError(), postgres.LockNotAvailable()), 503, "BUSY"),
            (caused(OperationalError(), postgres.DeadlockDetected()), 503, "BUSY"),
            (caused(OperationalError(), None), 503, "UNAVAILABLE"),
            (DataError(), 400, "VALUE_REFUSED"),
            (IntegrityError(), 409, "CONFLICT"),
            (RuntimeError("secret detail"), 500, "INTERNAL_ERROR"),
        ],
    )
    def test_finds_the_refusal_that_a_fault_means(self, error, status, code):
        refusal = errors.translate(error)

        assert (refusal.status, refusal.code) == (status, code)
        assert "secret" not in refusal.message

    @pytest.mark.parametrize("error", [DataError(), IntegrityError(), OperationalError(), RuntimeError()])
    def test_sounds_the_alarm_where_our_own_checks_failed(self, error, caplog):
        errors.translate(error)

        assert [record.levelname for record in caplog.records] == ["ERROR"]

    def test_says_when_to_come_back(self):
        assert errors.translate(OperationalError()).headers == {"Retry-After": "5"}

    def test_names_nested_faults_by_their_path(self):
        error = exceptions.ValidationError(
            {"consumer": {"email": ["Bad."]}, "items": [{}, {"quantity": ["Worse."]}], "non_field_errors": ["Worst."]}
        )

        faults = errors.translate(error).members()["errors"]

        assert [fault["field"] for fault in faults] == ["consumer.email", "items.1.quantity", "body"]

    @pytest.mark.parametrize(
        ("detail", "message"),
        [
            ({"items": [{"quantity": ["quantity must be whole."]}]}, "items.0.quantity must be whole."),
            ({"quantity": ["quantity must be whole."]}, "quantity must be whole."),
            ({"quantity": ["This field is required."]}, "quantity: This field is required."),
            ({"unit": ["units are not known."]}, "unit: units are not known."),
        ],
    )
    def test_names_the_field_once(self, detail, message):
        assert errors.translate(exceptions.ValidationError(detail)).message == message


class TestWhatDjangoAnswersByItself:
    @pytest.mark.parametrize("method", ["get", "post"])
    @pytest.mark.parametrize(
        "path", ["/v0", "/v0/", "/v1", "/v2/", "/v0/none", "/v1/none", "/v2/none", "/v1/customers", "/v0/products/../x"]
    )
    def test_is_json_under_the_api(self, path, method):
        answer = getattr(Client(enforce_csrf_checks=True), method)(path)

        assert (answer.status_code, answer["Content-Type"]) == (404, "application/json")
        assert answer.json()["code"] == "ROUTE_NOT_FOUND"
        assert answer.json()["requestId"]

    @pytest.mark.parametrize("path", ["/none", "/v0none", "/v00/none"])
    def test_is_a_page_elsewhere(self, path):
        assert Client().get(path)["Content-Type"].startswith("text/html")

    @pytest.mark.parametrize(
        ("handler", "status"),
        [(errors.bad_request, 400), (errors.permission_denied, 403), (errors.page_not_found, 404)],
    )
    def test_has_the_shape_of_a_refusal(self, handler, status):
        answer = handler(RequestFactory().get("/v0/x"), Exception())

        assert answer.status_code == status
        assert answer["Content-Type"] == "application/json"

    def test_hides_what_went_wrong_inside(self):
        answer = errors.server_error(RequestFactory().get("/v0/x"))

        assert answer.status_code == 500
        assert b"INTERNAL_ERROR" in answer.content


@pytest.mark.django_db
def test_an_unforeseen_fault_in_a_view_is_a_500_in_the_same_shape(monkeypatch):
    from merchants import products

    def fail(**given: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(products, "get", fail)

    answer = caller().get("/v0/products/prod_" + "0" * 26)

    assert answer.status_code == 500
    assert answer.json()["code"] == "INTERNAL_ERROR"
    assert b"secret detail" not in answer.content
