from django.apps import AppConfig


class BillingConfig(AppConfig):
    name = "billing"

    def ready(self) -> None:
        """Tell the register of customers what billing knows of them."""
        from billing import dependents

        dependents.register()
