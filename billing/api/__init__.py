"""Billing over HTTP."""

from django.urls import URLPattern

from billing.api import fees, plans, prices

urlpatterns: list[URLPattern] = [*fees.urlpatterns, *prices.urlpatterns, *plans.urlpatterns]
