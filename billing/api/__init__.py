"""Billing over HTTP."""

from django.urls import URLPattern

from billing.api import fees, plans, prices, subscriptions, wallets

urlpatterns: list[URLPattern] = [
    *fees.urlpatterns,
    *prices.urlpatterns,
    *plans.urlpatterns,
    *subscriptions.urlpatterns,
    *wallets.urlpatterns,
]
