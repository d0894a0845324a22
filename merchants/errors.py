"""The refusals every door speaks, and the one JSON shape they take on the wire.

Activities and pure modules raise these; the control plane's exception handler and the fast lane both turn
them into an answer with :func:`envelope`, so that a refusal reads the same whoever gave it. Clients switch
on ``code``, never on ``message``.
"""

from collections.abc import Sequence
from typing import Any, ClassVar, NotRequired, TypedDict


class FieldError(TypedDict):
    """One fault of one field, named as the caller named it (``properties.0.quantity``)."""

    field: str
    message: str
    code: NotRequired[str]


class ServiceError(Exception):
    """A request that is refused, with everything its answer needs."""

    status: ClassVar[int] = 500
    error: ClassVar[str] = "internal_error"
    code: str = "INTERNAL_ERROR"
    message: str = "Something went wrong on our side."

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        details: dict[str, Any] | None = None,
        retry_after: int | None = None,
    ) -> None:
        self.message = message or type(self).message
        self.code = code or type(self).code
        self.details = details
        self.retry_after = retry_after
        super().__init__(self.message)

    @property
    def headers(self) -> dict[str, str]:
        """Name the response headers that belong to this refusal."""
        return {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}

    def members(self) -> dict[str, Any]:
        """Name what the envelope carries besides category, message and code."""
        return {} if self.details is None else {"details": self.details}


class ValidationFailed(ServiceError):
    """The request cannot be understood as it is written; it names the fields at fault."""

    status = 400
    error = "validation_error"
    code = "VALIDATION_FAILED"
    message = "The request is not valid."

    def __init__(
        self,
        message: str | None = None,
        *,
        field: str | None = None,
        code: str | None = None,
        errors: Sequence[FieldError] | None = None,
        details: dict[str, Any] | None = None,
    ) -> None:
        super().__init__(message, code=code, details=details)
        self.errors: list[FieldError] = list(errors or ())
        if field is not None:
            self.errors.append({"field": field, "message": self.message, "code": self.code})

    def members(self) -> dict[str, Any]:
        return {**super().members(), "errors": self.errors}


class Unauthorized(ServiceError):
    status = 401
    error = "unauthorized"
    code = "UNAUTHORIZED"
    message = "A valid API key is required."

    @property
    def headers(self) -> dict[str, str]:
        return {**super().headers, "WWW-Authenticate": "Bearer"}


class InsufficientFunds(ServiceError):
    """What is asked for costs more than is free to spend; amounts are decimal strings of the currency."""

    status = 402
    error = "insufficient_funds"
    code = "INSUFFICIENT_FUNDS"
    message = "The available balance does not cover this."

    def __init__(
        self,
        message: str | None = None,
        *,
        available: str,
        required: str,
        currency: str,
        credit_limit: str | None = None,
    ) -> None:
        details = {"available": available, "required": required, "currency": currency}
        if credit_limit is not None:
            message = message or "The credit limit leaves no room for this."
            details["creditLimit"] = credit_limit
        super().__init__(message, details=details)


class BudgetExceeded(ServiceError):
    """A spending limit leaves no room for what is asked for; ``details`` names the limit and how far it is used."""

    status = 402
    error = "budget_exceeded"
    code = "BUDGET_EXCEEDED"
    message = "A budget leaves no room for this."


class EntitlementExhausted(ServiceError):
    """A hard limit: what grants have left of a feature does not cover this; ``details`` says how much there is."""

    status = 402
    error = "entitlement_exhausted"
    code = "ENTITLEMENT_EXHAUSTED"
    message = "What is left of this entitlement does not cover this."


class PaymentDeclined(ServiceError):
    """A card was charged and did not pay; ``details`` says why, in the words of whoever keeps it."""

    status = 402
    error = "payment_declined"
    code = "PAYMENT_DECLINED"
    message = "The payment was declined."


class Forbidden(ServiceError):
    """Who asks is known, but may not; ``reason`` is no_permission, insufficient_scope or not_member."""

    status = 403
    error = "forbidden"
    code = "FORBIDDEN"
    message = "This is not allowed."

    def __init__(
        self,
        message: str | None = None,
        *,
        code: str | None = None,
        reason: str | None = None,
        required_permissions: Sequence[str] = (),
    ) -> None:
        super().__init__(message, code=code)
        self.reason = reason
        self.required_permissions = list(required_permissions)

    def members(self) -> dict[str, Any]:
        members = super().members()
        if self.reason is not None:
            members["reason"] = self.reason
        if self.required_permissions:
            members["requiredPermissions"] = self.required_permissions
        return members


class NotFound(ServiceError):
    """Nothing of that id exists for this caller; another tenant's object is answered the same way."""

    status = 404
    error = "not_found"
    code = "NOT_FOUND"
    message = "There is no such object."


class MethodNotAllowed(ServiceError):
    status = 405
    error = "method_not_allowed"
    code = "METHOD_NOT_ALLOWED"
    message = "This method is not allowed here."

    def __init__(self, message: str | None = None, *, allowed: Sequence[str]) -> None:
        super().__init__(message)
        self.allowed = list(allowed)

    @property
    def headers(self) -> dict[str, str]:
        return {**super().headers, "Allow": ", ".join(self.allowed)}


class RequestTimeout(ServiceError):
    status = 408
    error = "request_timeout"
    code = "REQUEST_TIMEOUT"
    message = "The body did not arrive in time."


class Conflict(ServiceError):
    status = 409
    error = "conflict"
    code = "CONFLICT"
    message = "This conflicts with the present state."


class IdempotencyConflict(Conflict):
    """The key was used before, for a different request."""

    code = "IDEMPOTENCY_CONFLICT"
    message = "This idempotency key was used before with a different request."


class LengthRequired(ServiceError):
    status = 411
    error = "length_required"
    code = "LENGTH_REQUIRED"
    message = "Send the body with a Content-Length."


class PreconditionFailed(ServiceError):
    status = 412
    error = "precondition_failed"
    code = "PRECONDITION_FAILED"
    message = "The object has changed since you read it."


class PayloadTooLarge(ServiceError):
    status = 413
    error = "payload_too_large"
    code = "PAYLOAD_TOO_LARGE"
    message = "The body is too large."


class UnsupportedMediaType(ServiceError):
    status = 415
    error = "unsupported_media_type"
    code = "UNSUPPORTED_MEDIA_TYPE"
    message = "Send the body as application/json in UTF-8, not compressed."


class Unprocessable(ServiceError):
    """Well written, but what it asks for makes no sense here."""

    status = 422
    error = "unprocessable"
    code = "UNPROCESSABLE"
    message = "This cannot be processed."


class TooManyRequests(ServiceError):
    """Refused for now; ``retry_after`` says in how many seconds it is worth another try."""

    status = 429
    error = "rate_limited"
    code = "RATE_LIMITED"
    message = "Too many requests; try again later."

    def __init__(self, message: str | None = None, *, code: str | None = None, retry_after: int = 1) -> None:
        super().__init__(message, code=code, retry_after=retry_after)


class Unavailable(ServiceError):
    """A part the answer needs is down for the moment; the same request may be sent again."""

    status = 503
    error = "unavailable"
    code = "UNAVAILABLE"
    message = "The service is not available for the moment; try again."

    def __init__(self, message: str | None = None, *, code: str | None = None, retry_after: int = 1) -> None:
        super().__init__(message, code=code, retry_after=retry_after)


def envelope(error: ServiceError, request_id: str) -> dict[str, Any]:
    """Return the JSON body of a refusal: category, message, code, what else it carries, and the request's id."""
    return {
        "error": error.error,
        "message": error.message,
        "code": error.code,
        **error.members(),
        "requestId": request_id,
    }
