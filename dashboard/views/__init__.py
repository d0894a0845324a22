"""Every page of the dashboard on one screen; each stands twice, for live and for test."""

from django.urls import URLPattern, URLResolver, include, path

from dashboard.views import (
    audit_log,
    budgets,
    catalogue,
    customers,
    events,
    keys,
    organization,
    overview,
    registration,
    team,
)
from merchants.models import Mode

_pages: list[URLPattern | URLResolver] = [
    path("", overview.show, name="overview"),
    path("live-events", overview.live, name="live"),
    path("search", overview.search, name="search"),
    path("events", events.listing, name="events"),
    path("events/<str:event_id>", events.show, name="event"),
    path("customers", customers.listing, name="customers"),
    path("customers/new", customers.new, name="customer-new"),
    path("customers/<str:customer_id>", customers.show, name="customer"),
    path("customers/<str:customer_id>/live", customers.live, name="customer-live"),
    path("customers/<str:customer_id>/subscribe", customers.subscribe, name="subscribe"),
    path("customers/<str:customer_id>/wallets/<str:wallet_id>/top-up", customers.top_up, name="top-up"),
    path("customers/<str:customer_id>/portal/<str:subscription_id>", customers.portal_link, name="portal-link"),
    path("customers/<str:customer_id>/budgets/new", budgets.new, name="budget-new"),
    path("customers/<str:customer_id>/budgets/<str:budget_id>", budgets.show, name="budget"),
    path("customers/<str:customer_id>/budgets/<str:budget_id>/archive", budgets.archive, name="budget-archive"),
    path("products", catalogue.product_list, name="products"),
    path("products/new", catalogue.product_new, name="product-new"),
    path("products/<str:product_id>", catalogue.product, name="product"),
    path("metrics", catalogue.metric_list, name="metrics"),
    path("metrics/new", catalogue.metric_new, name="metric-new"),
    path("metrics/<str:metric_id>", catalogue.metric, name="metric"),
    path("plans", catalogue.plan_list, name="plans"),
    path("plans/new", catalogue.plan_new, name="plan-new"),
    path("plans/<str:plan_id>", catalogue.plan, name="plan"),
    path("plans/<str:plan_id>/prices/new", catalogue.price_new, name="price-new"),
    path("plans/<str:plan_id>/prices/preview", catalogue.price_preview, name="price-preview"),
    path("plans/<str:plan_id>/fees/new", catalogue.fee_new, name="fee-new"),
    path("keys", keys.listing, name="keys"),
    path("keys/new", keys.new, name="key-new"),
    path("keys/<str:key_id>/roll", keys.roll, name="key-roll"),
    path("keys/<str:key_id>/revoke", keys.revoke, name="key-revoke"),
    path("settings", organization.show, name="organization"),
    path("settings/team", team.listing, name="team"),
    path("settings/team/invite", team.invite, name="invite"),
    path("settings/team/<str:member_id>", team.member, name="member"),
    path("settings/team/<str:member_id>/remove", team.remove, name="member-remove"),
    path("settings/audit-log", audit_log.listing, name="audit-log"),
    path("settings/leave", team.leave, name="leave"),
    path("account", organization.account, name="account"),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("", registration.start, name="start"),
    path("accounts/signup/", registration.sign_up, name="account_signup"),
    path("accounts/invitation/<str:token>", team.invitation, name="invitation"),
    path("<slug:org>/test/", include((_pages, "dashboard"), namespace="test"), {"mode": Mode.TEST}),
    path("<slug:org>/", include((_pages, "dashboard"), namespace="live"), {"mode": Mode.LIVE}),
]
