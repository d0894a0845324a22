"""Usage events and reservations over HTTP: reading, refunding and correcting them. Making them is the lane's."""

from django.urls import URLPattern

from charging.api import disputes, entitlements, usage

urlpatterns: list[URLPattern] = [*usage.urlpatterns, *entitlements.urlpatterns, *disputes.urlpatterns]
