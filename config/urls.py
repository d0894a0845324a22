"""The whole HTTP surface on one screen."""

from django.urls import URLPattern, URLResolver, include, path, re_path

import billing.api
import billing.webhooks_in
import charging.api
import customers.api
import dashboard.views
import entitlements.api
import merchants.api
import metering.api
import portal.views
import ui.views
from config import errors, metrics, openapi, probes

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", probes.healthz),
    path("readyz", probes.readyz),
    path("metrics", metrics.metrics),
    path("openapi.json", openapi.document, name="openapi"),
    path("docs", openapi.Docs.as_view(), name="docs"),
    path("redoc", openapi.Reference.as_view(), name="redoc"),
    path("v0/", include(merchants.api)),
    path("v0/", include(metering.api)),
    path("v0/", include(billing.api)),
    path("v0/", include(customers.api)),
    path("v0/", include(charging.api)),
    path("v0/", include(entitlements.api)),
    path("v1/", include(entitlements.api.urlpatterns_v1)),
    path("v2/", include(billing.api.urlpatterns_v2)),
    re_path(rf"^(?:{'|'.join(sorted(errors.API_ROOTS))})(?:/|$)", errors.no_route),  # no organization has such a name
    path("webhooks/in/", include(billing.webhooks_in)),
    path("theme", ui.views.set_theme, name="theme"),
    path("portal/", include(portal.views)),
    path("", include(dashboard.views)),
    path("accounts/", include("allauth.urls")),
]

handler400 = "config.errors.bad_request"
handler403 = "config.errors.permission_denied"
handler404 = "config.errors.page_not_found"
handler500 = "config.errors.server_error"
