"""Billing over HTTP."""

from django.urls import URLPattern

from billing.api import coupons, fees, invoices, plans, prices, subscriptions, wallets

urlpatterns: list[URLPattern] = [
    *fees.urlpatterns,
    *prices.urlpatterns,
    *plans.urlpatterns,
    *coupons.urlpatterns,
    *subscriptions.urlpatterns,
    *wallets.urlpatterns,
]

# The contract has invoices under /v2.
urlpatterns_v2: list[URLPattern] = invoices.urlpatterns
