"""Billing over HTTP."""

from django.urls import URLPattern

from billing.api import (
    alerts,
    authorizations,
    checkout,
    coupons,
    credit_notes,
    credits,
    documents,
    dry_runs,
    exports,
    fees,
    invoice_actions,
    invoices,
    line_items,
    organization,
    payment_links,
    payment_methods,
    payments,
    payouts,
    plans,
    portal,
    prices,
    rollouts,
    subscription_changes,
    subscriptions,
    test_clocks,
    wallets,
)

urlpatterns: list[URLPattern] = [
    *fees.urlpatterns,
    *dry_runs.urlpatterns,  # before the address of a price
    *prices.urlpatterns,
    *plans.urlpatterns,
    *rollouts.urlpatterns,
    *coupons.urlpatterns,
    *subscriptions.urlpatterns,
    *subscription_changes.urlpatterns,
    *portal.urlpatterns,
    *test_clocks.urlpatterns,
    *invoice_actions.urlpatterns,
    *wallets.urlpatterns,
    *credits.urlpatterns,
    *exports.urlpatterns,
    *checkout.urlpatterns,
    *payments.urlpatterns,
    *payment_methods.urlpatterns,
    *payment_links.urlpatterns,
    *authorizations.urlpatterns,  # before the customers' own: theirs would take its name for an id
    *alerts.urlpatterns,
    *payouts.urlpatterns,
    *organization.urlpatterns,
]

# The contract has invoices under /v2.
urlpatterns_v2: list[URLPattern] = [
    *line_items.urlpatterns,
    *credit_notes.urlpatterns,
    *documents.urlpatterns,
    *invoices.urlpatterns,
    *invoice_actions.urlpatterns_v2,
]
