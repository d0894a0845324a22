from django.apps import AppConfig


class EntitlementsConfig(AppConfig):
    name = "entitlements"

    def ready(self) -> None:
        """Keep customers from being deleted while something is held for them; follow subscriptions and prices."""
        from billing import followers, holds
        from customers import registry
        from entitlements import features, following, purchasing, reservations

        registry.register_blocker(reservations.open_reservations)
        followers.register(started=following.start, changed=following.change, ended=following.end)
        followers.register_features(features.include)
        holds.register(reservations.held_since)
        purchasing.register()
