"""Metering over HTTP."""

from django.urls import URLPattern

from metering.api import meters, metrics

urlpatterns: list[URLPattern] = [*metrics.urlpatterns, *meters.urlpatterns]
