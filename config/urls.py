"""The whole HTTP surface on one screen."""

from django.urls import URLPattern, URLResolver, include, path

import billing.api
import customers.api
import merchants.api
import metering.api
from config import metrics, probes

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", probes.healthz),
    path("readyz", probes.readyz),
    path("metrics", metrics.metrics),
    path("v0/", include(merchants.api)),
    path("v0/", include(metering.api)),
    path("v0/", include(billing.api)),
    path("v0/", include(customers.api)),
]

handler400 = "config.errors.bad_request"
handler403 = "config.errors.permission_denied"
handler404 = "config.errors.page_not_found"
handler500 = "config.errors.server_error"
