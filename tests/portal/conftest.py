"""A customer with a past, and a link to their portal."""

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from tests.scenes import Scene


@pytest.fixture(autouse=True)
def _swift_passwords(settings: Any) -> None:
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def scene(db: None) -> "Scene":
    """Two customers with weeks of charges up to now."""
    from tests import scenes

    return scenes.busy(now=scenes.NOW, customers=2)
