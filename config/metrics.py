"""``/metrics`` for Prometheus. The metrics themselves stand beside the code that counts.

With PROMETHEUS_MULTIPROC_DIR set, as ``make run`` and the container image do, every process of the host
writes there and one scrape sums them up; without it a scrape sees the process that answers it.
"""

import ipaddress
import os
import secrets

from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.views.decorators.http import require_GET
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

FORWARDED_HEADERS = ("X-Forwarded-For", "Forwarded", "X-Real-Ip")


@require_GET
def metrics(request: HttpRequest) -> HttpResponse:
    """Answer a scrape that carries the token, or that comes from this machine where no token is set; else 404."""
    if not _may_scrape(request):
        raise Http404
    return HttpResponse(generate_latest(_registry()), content_type=CONTENT_TYPE_LATEST)


def _may_scrape(request: HttpRequest) -> bool:
    token: str = settings.METRICS_TOKEN
    if token:
        return secrets.compare_digest(request.headers.get("Authorization", "").encode(), f"Bearer {token}".encode())
    # A proxy on this machine connects from loopback too, but says for whom.
    return _is_loopback(request.META.get("REMOTE_ADDR", "")) and not any(
        header in request.headers for header in FORWARDED_HEADERS
    )


def _is_loopback(address: str) -> bool:
    try:
        return ipaddress.ip_address(address).is_loopback
    except ValueError:
        return False


def _registry() -> CollectorRegistry:
    if "PROMETHEUS_MULTIPROC_DIR" not in os.environ:
        return REGISTRY
    registry = CollectorRegistry()
    MultiProcessCollector(registry)
    return registry
