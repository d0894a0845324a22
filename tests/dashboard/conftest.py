"""A small merchant with a past, and its owner signed in."""

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # models can be imported only once the servers that settings name are running
    from django.test import Client

    from tests.scenes import Scene


@pytest.fixture
def scene(db: None) -> "Scene":
    """Two customers with weeks of charges up to now."""
    from tests import scenes

    return scenes.busy(now=scenes.NOW, customers=2)


@pytest.fixture
def owner(scene: "Scene") -> "Client":
    """The owner's browser, without JavaScript."""
    from tests import scenes

    return scenes.signed_in(scene.user)
