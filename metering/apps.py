from django.apps import AppConfig


class MeteringConfig(AppConfig):
    name = "metering"

    def ready(self) -> None:
        """Let customers have tax rates of their own for metrics."""
        from customers import registry
        from metering import metrics

        registry.register_taxable("bm", metrics.known)
