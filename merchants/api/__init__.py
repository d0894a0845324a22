"""Products, webhooks and the log of events over HTTP."""

from merchants.api import events, products, webhooks

urlpatterns = [*products.urlpatterns, *webhooks.urlpatterns, *events.urlpatterns]
