"""Every fault in one shape: what went wrong becomes a ServiceError, and that an envelope of JSON."""

import logging
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.csrf import csrf_exempt
from psycopg.errors import DeadlockDetected, LockNotAvailable, SerializationFailure
from rest_framework import exceptions
from rest_framework.response import Response

from merchants import errors, request_ids
from merchants.errors import FieldError, ServiceError
from ui import views as pages

API_ROOTS = {"v0", "v1", "v2"}
BUSY_RETRY_SECONDS = 1
DOWN_RETRY_SECONDS = 5
WHOLE_BODY = "body"

logger = logging.getLogger(__name__)


def handle(error: Exception, context: dict[str, Any]) -> Response:
    """Answer any exception of an API view; REST framework calls this."""
    refusal = translate(error, context.get("view"))
    response = Response(errors.envelope(refusal, request_ids.current.get()), status=refusal.status)
    for name, value in refusal.headers.items():
        response[name] = value
    return response


def translate(error: Exception, view: Any = None) -> ServiceError:
    """Turn any exception into the refusal it means; what nobody foresaw is logged and becomes a 500."""
    if isinstance(error, ServiceError):
        return error
    if isinstance(error, exceptions.APIException | Http404 | PermissionDenied):
        return _of_framework(error, view)
    if isinstance(error, DatabaseError | InterfaceError):
        return _of_database(error)
    logger.error("unexpected fault", exc_info=error)
    return ServiceError()


def _of_framework(error: Exception, view: Any) -> ServiceError:
    match error:
        case exceptions.ValidationError():
            return _invalid(list(_flatten(error.detail)))
        case Http404() | exceptions.NotFound():
            return errors.NotFound()
        case PermissionDenied() | exceptions.PermissionDenied():
            return errors.Forbidden()
        case exceptions.NotAuthenticated() | exceptions.AuthenticationFailed():
            return errors.Unauthorized()
        case exceptions.MethodNotAllowed():
            return errors.MethodNotAllowed(allowed=getattr(view, "allowed_methods", []))
        case exceptions.UnsupportedMediaType():
            return errors.UnsupportedMediaType()
    return errors.ValidationFailed("The request cannot be read.")


def _of_database(error: Exception) -> ServiceError:
    match error.__cause__:
        case LockNotAvailable() | SerializationFailure() | DeadlockDetected():
            return errors.Unavailable("This object is busy; try again.", code="BUSY", retry_after=BUSY_RETRY_SECONDS)
    # What follows got past our own checks: the database is the last net, and an alarm.
    logger.error("the database refused", exc_info=error)
    match error:
        case DataError():
            return errors.ValidationFailed("A value is outside of what can be stored.", code="VALUE_REFUSED")
        case IntegrityError():
            return errors.Conflict()
        case OperationalError() | InterfaceError():
            return errors.Unavailable(retry_after=DOWN_RETRY_SECONDS)
    return ServiceError()


def _invalid(faults: list[FieldError]) -> errors.ValidationFailed:
    first = faults[0] if faults else None
    more = f" (and {len(faults) - 1} more)" if len(faults) > 1 else ""
    return errors.ValidationFailed(f"{_sentence(first)}{more}" if first else None, errors=faults)


def _sentence(fault: FieldError) -> str:
    """Say of which field a fault is; our own messages begin with its name, if not with where that is."""
    path, message = fault["field"], fault["message"]
    name = path.rpartition(".")[2]
    return path + message.removeprefix(name) if message.startswith(f"{name} ") else f"{path}: {message}"


def _flatten(detail: Any, path: str = "") -> Iterator[FieldError]:
    """Name every fault of REST framework's nested error detail by its dotted path."""
    if isinstance(detail, dict):
        for name, inner in detail.items():
            nested = path if name == "non_field_errors" else f"{path}.{name}".lstrip(".")
            yield from _flatten(inner, nested)
    elif isinstance(detail, list):
        for index, inner in enumerate(detail):
            is_leaf = not isinstance(inner, dict | list)
            yield from _flatten(inner, path if is_leaf else f"{path}.{index}".lstrip("."))
    else:
        code = str(getattr(detail, "code", "invalid")).upper()
        yield {"field": path or WHOLE_BODY, "message": str(detail), "code": code}


# --- what Django answers by itself -----------------------------------------------------------------------


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django could not read."""
    if not is_api(request):
        return pages.bad_request(request, exception)
    return _json(errors.ValidationFailed("The request cannot be read."))


def permission_denied(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a request that Django refuses."""
    return _json(errors.Forbidden()) if is_api(request) else pages.forbidden(request, exception)


def page_not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a path that leads nowhere."""
    if not is_api(request):
        return pages.not_found(request, exception)
    return no_route(request)


@csrf_exempt
def no_route(request: HttpRequest) -> HttpResponse:
    """Answer a path of the API that leads nowhere, whatever the method."""
    return _json(errors.NotFound("There is no such route.", code="ROUTE_NOT_FOUND"))


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer a fault that nobody foresaw; Django has logged it."""
    return _json(ServiceError()) if is_api(request) else pages.server_error(request)


def is_api(request: HttpRequest) -> bool:
    """Tell whether a path is the API's, where every answer is JSON."""
    return request.path_info.split("/", 2)[1] in API_ROOTS


def _json(refusal: ServiceError) -> JsonResponse:
    body = errors.envelope(refusal, request_ids.current.get())
    return JsonResponse(body, status=refusal.status, headers=refusal.headers)
