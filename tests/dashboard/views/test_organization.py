"""Settings with the ids to copy."""

from merchants import ids
from tests import scenes


class TestShow:
    def test_prints_the_ids_of_the_organization_and_both_merchants(self, quiet: scenes.Scene) -> None:
        content = scenes.signed_in(quiet.user).get("/judgebox/test/settings").content.decode()
        for key in (quiet.test.organization.id, quiet.test.id, quiet.live.id):
            assert f'data-copy="{ids.text("org", key)}"' in content


class TestAccount:
    def test_says_whether_a_second_factor_is_on(self, quiet: scenes.Scene) -> None:
        content = scenes.signed_in(quiet.user).get("/judgebox/test/account").content.decode()
        assert quiet.user.email in content
        assert ">Off<" in content
