"""Metering over HTTP."""

from django.urls import URLPattern

from metering.api import metrics

urlpatterns: list[URLPattern] = [*metrics.urlpatterns]
