"""A customer with a past, and a link to their portal."""

from copy import deepcopy
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from tests.scenes import Scene


@pytest.fixture
def scene(scene_of_module: "Scene | None", db: None) -> "Scene":
    """Two customers with weeks of charges up to now."""
    from tests import scenes

    return scenes.small() if scene_of_module is None else deepcopy(scene_of_module)
