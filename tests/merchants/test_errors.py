import pytest

from merchants import errors


class TestEnvelope:
    def test_carries_category_message_code_and_request(self):
        assert errors.envelope(errors.NotFound(), "req_1") == {
            "error": "not_found",
            "message": "There is no such object.",
            "code": "NOT_FOUND",
            "requestId": "req_1",
        }

    def test_names_the_fields_of_a_validation_error(self):
        refusal = errors.ValidationFailed("quantity must be positive.", field="quantity", code="INVALID_QUANTITY")
        assert errors.envelope(refusal, "req_1") == {
            "error": "validation_error",
            "message": "quantity must be positive.",
            "code": "INVALID_QUANTITY",
            "errors": [{"field": "quantity", "message": "quantity must be positive.", "code": "INVALID_QUANTITY"}],
            "requestId": "req_1",
        }

    def test_says_what_is_available_and_what_is_required(self):
        refusal = errors.InsufficientFunds(available="1.00", required="2.50", currency="USD")
        body = errors.envelope(refusal, "req_1")
        assert (refusal.status, body["code"]) == (402, "INSUFFICIENT_FUNDS")
        assert body["details"] == {"available": "1.00", "required": "2.50", "currency": "USD"}

    def test_says_which_permission_is_missing(self):
        refusal = errors.Forbidden(reason="insufficient_scope", required_permissions=["usage:write"])
        body = errors.envelope(refusal, "req_1")
        assert (body["reason"], body["requiredPermissions"]) == ("insufficient_scope", ["usage:write"])

    def test_takes_a_code_and_details_of_the_caller(self):
        refusal = errors.Conflict("Still in use.", code="HAS_BLOCKERS", details={"blockers": []})
        body = errors.envelope(refusal, "req_1")
        assert (body["error"], body["code"], body["details"]) == ("conflict", "HAS_BLOCKERS", {"blockers": []})


class TestServiceError:
    @pytest.mark.parametrize(
        ("refusal", "status", "code"),
        [
            (errors.ServiceError(), 500, "INTERNAL_ERROR"),
            (errors.ValidationFailed(), 400, "VALIDATION_FAILED"),
            (errors.Unauthorized(), 401, "UNAUTHORIZED"),
            (errors.Forbidden(), 403, "FORBIDDEN"),
            (errors.NotFound(), 404, "NOT_FOUND"),
            (errors.MethodNotAllowed(allowed=["POST"]), 405, "METHOD_NOT_ALLOWED"),
            (errors.Conflict(), 409, "CONFLICT"),
            (errors.IdempotencyConflict(), 409, "IDEMPOTENCY_CONFLICT"),
            (errors.LengthRequired(), 411, "LENGTH_REQUIRED"),
            (errors.PreconditionFailed(), 412, "PRECONDITION_FAILED"),
            (errors.PayloadTooLarge(), 413, "PAYLOAD_TOO_LARGE"),
            (errors.UnsupportedMediaType(), 415, "UNSUPPORTED_MEDIA_TYPE"),
            (errors.Unprocessable(), 422, "UNPROCESSABLE"),
            (errors.TooManyRequests(), 429, "RATE_LIMITED"),
            (errors.Unavailable(), 503, "UNAVAILABLE"),
        ],
    )
    def test_has_one_status_and_one_code(self, refusal, status, code):
        assert (refusal.status, refusal.code) == (status, code)
        assert str(refusal) == refusal.message

    def test_brings_its_headers(self):
        assert errors.TooManyRequests(retry_after=3).headers == {"Retry-After": "3"}
        assert errors.Unauthorized().headers == {"WWW-Authenticate": "Bearer"}
        assert errors.MethodNotAllowed(allowed=["GET", "POST"]).headers == {"Allow": "GET, POST"}
        assert errors.NotFound().headers == {}
