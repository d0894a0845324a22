from django.apps import AppConfig


class MerchantsConfig(AppConfig):
    name = "merchants"

    def ready(self) -> None:
        """Register the table-class check."""
        from merchants import tables  # noqa: F401
