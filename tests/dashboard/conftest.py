"""A small merchant with a past, and its owner signed in."""

from copy import deepcopy
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:  # models can be imported only once the servers that settings name are running
    from django.test import Client

    from tests.scenes import Scene


@pytest.fixture
def scene(scene_of_module: "Scene | None", db: None) -> "Scene":
    """Two customers with weeks of charges up to now."""
    from tests import scenes

    return scenes.small() if scene_of_module is None else deepcopy(scene_of_module)


@pytest.fixture
def quiet(db: None) -> "Scene":
    """A catalogue that nobody has bought from yet."""
    from tests import scenes

    return scenes.catalogue(scenes.register(now=scenes.NOW), now=scenes.NOW)


@pytest.fixture
def owner(scene: "Scene") -> "Client":
    """The owner's browser, without JavaScript."""
    from tests import scenes

    return scenes.signed_in(scene.user)
