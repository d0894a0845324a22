from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        """Tell the register of customers what billing knows of them, and payments what they are for."""
        from billing import dependents, topups

        dependents.register()
        topups.register()
