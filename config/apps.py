from django.apps import AppConfig


class Config(AppConfig):
    name = "config"

    def ready(self) -> None:
        """Make Farthing's Celery the one that shared tasks belong to, in every process."""
        from config import celery  # noqa: F401
