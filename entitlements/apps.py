from django.apps import AppConfig


class EntitlementsConfig(AppConfig):
    name = "entitlements"

    def ready(self) -> None:
        """Keep customers from being deleted while something is held for them."""
        from customers import registry
        from entitlements import reservations

        registry.register_blocker(reservations.open_reservations)
