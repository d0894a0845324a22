"""What happens around every request that Django answers: it gets an id, it is counted, and an outage has a page."""

import logging
import time
from collections.abc import Callable

from django.db import InterfaceError, OperationalError
from django.http import HttpRequest
from django.http.response import HttpResponseBase
from prometheus_client import Counter, Histogram
from redis import RedisError

from merchants import request_ids
from ui import views as pages

Respond = Callable[[HttpRequest], HttpResponseBase]

logger = logging.getLogger(__name__)

REQUESTS = Counter("farthing_http_requests", "Requests answered.", ["method", "route", "status"])
REQUEST_SECONDS = Histogram(
    "farthing_http_request_seconds",
    "Time from a request's arrival to its response.",
    ["method", "route"],
    buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)


class RequestIdMiddleware:
    """Give the request its id: ``request.request_id``, the log lines' ``request_id``, the X-Request-Id header."""

    def __init__(self, get_response: Respond) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        request_id = request_ids.accept(request.headers.get(request_ids.HEADER))
        request.request_id = request_id  # type: ignore[attr-defined]
        token = request_ids.current.set(request_id)
        try:
            response = self.get_response(request)
        finally:
            request_ids.current.reset(token)
        response.headers[request_ids.HEADER] = request_id
        return response


class RequestMetricsMiddleware:
    """Count the request under its route, never under its path: paths are without number."""

    def __init__(self, get_response: Respond) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        began = time.perf_counter()
        response = self.get_response(request)
        route = request.resolver_match.route if request.resolver_match else "none"
        method = request.method if request.method in {"GET", "POST", "PATCH", "PUT", "DELETE", "HEAD"} else "other"
        REQUESTS.labels(method, route, str(response.status_code)).inc()
        REQUEST_SECONDS.labels(method, route).observe(time.perf_counter() - began)
        return response


class OutageMiddleware:
    """Answer a page that needed PostgreSQL or Redis while it was away with 503: it is over in a moment.

    The API's views answer their own faults. Signing in counts attempts in Redis, and nobody gets in uncounted.
    """

    def __init__(self, get_response: Respond) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        return self.get_response(request)

    def process_exception(self, request: HttpRequest, exception: Exception) -> HttpResponseBase | None:
        """Take what a view raised; None leaves it to the handler of faults."""
        if not isinstance(exception, RedisError | OperationalError | InterfaceError):
            return None
        logger.error("a page found PostgreSQL or Redis away", exc_info=exception)
        return pages.unavailable(request)
