"""Budgets, and what customers are entitled to, over HTTP. Reservations are charging's."""

from django.urls import URLPattern

from entitlements.api import budgets, entitlements, features, grants

urlpatterns: list[URLPattern] = [*budgets.urlpatterns, *features.urlpatterns]

# The contract has entitlements to features under /v1; those under /v0 are reservations.
urlpatterns_v1: list[URLPattern] = [*entitlements.urlpatterns, *grants.urlpatterns]
