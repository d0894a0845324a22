"""The team, and the link that lets somebody in."""

import re
from typing import Any

import pytest
from django.core import mail
from django.test import Client

from merchants import ids
from merchants.models import Membership, User
from tests import scenes

HOME = "/judgebox/test"


def place(email: str) -> Membership:
    return Membership.objects.get(user__email=email)


def path(member: Membership) -> str:
    return f"{HOME}/settings/team/{ids.text('mem', member.id)}"


def invited(client: Client, email: str = "bob@example.com", role: str = "developer") -> str:
    """Invite somebody; return the path of the link that reached them."""
    client.post(f"{HOME}/settings/team/invite", {"email": email, "role": role})
    [letter] = mail.outbox[-1:]
    assert letter.to == [email]
    link = re.search(r"http://\S+?(/accounts/invitation/\S+)", str(letter.body))
    assert link
    return link[1]


class TestListing:
    def test_names_everybody_and_who_is_still_to_come(self, quiet: scenes.Scene) -> None:
        client = scenes.signed_in(quiet.user)
        invited(client)
        content = client.get(f"{HOME}/settings/team").content.decode()
        assert quiet.user.email in content
        assert "bob@example.com" in content
        assert ">Invited<" in content
        assert "2 members" in content

    def test_takes_as_many_queries_for_many_as_for_few(
        self, quiet: scenes.Scene, django_assert_max_num_queries: Any
    ) -> None:
        for number in range(10):
            user = User.objects.create_user(f"user{number}@example.com", scenes.PASSWORD)
            Membership.objects.create(organization=quiet.test.organization, user=user, role="analyst")
        client = scenes.signed_in(quiet.user)
        with django_assert_max_num_queries(9):
            client.get(f"{HOME}/settings/team")

    def test_shows_a_developer_no_actions(self, quiet: scenes.Scene) -> None:
        Membership.objects.filter(user=quiet.user).update(role="developer")
        content = scenes.signed_in(quiet.user).get(f"{HOME}/settings/team").content
        assert b"/invite" not in content
        assert b">Change<" not in content


class TestInvitation:
    def test_makes_an_account_and_opens_the_organization(self, quiet: scenes.Scene) -> None:
        link, client = invited(scenes.signed_in(quiet.user)), Client()
        assert b"Join Judgebox" in client.get(link).content
        response = client.post(link, {"name": "Bob", "password": scenes.PASSWORD}, follow=True)
        assert response.redirect_chain == [(f"{HOME}/", 302)]
        assert (place("bob@example.com").state, place("bob@example.com").role) == ("active", "developer")

    def test_works_once(self, quiet: scenes.Scene) -> None:
        link = invited(scenes.signed_in(quiet.user))
        Client().post(link, {"name": "Bob", "password": scenes.PASSWORD})
        for answer in (Client().get(link), Client().post(link, {"name": "Eve", "password": "another horse battery"})):
            assert answer.status_code == 410
        assert place("bob@example.com").user.name == "Bob"

    def test_is_accepted_by_somebody_who_has_an_account_once_they_sign_in(self, quiet: scenes.Scene) -> None:
        user = User.objects.create_user("bob@example.com", scenes.PASSWORD)
        link = invited(scenes.signed_in(quiet.user))
        stranger = Client()
        assert b"Sign in as bob@example.com" in stranger.get(link).content
        stranger.post(link, {"name": "Eve", "password": "another horse battery"})
        assert place("bob@example.com").state == "invited"
        assert scenes.signed_in(user).post(link)["Location"] == f"{HOME}/"
        assert place("bob@example.com").state == "active"
        user.refresh_from_db()
        assert user.check_password(scenes.PASSWORD)

    def test_is_not_accepted_by_anybody_else(self, quiet: scenes.Scene) -> None:
        User.objects.create_user("bob@example.com", scenes.PASSWORD)
        owner = scenes.signed_in(quiet.user)
        link = invited(owner)
        assert b"This invitation is for bob@example.com" in owner.post(link).content
        assert place("bob@example.com").state == "invited"

    def test_says_what_is_wrong_with_a_password(self, quiet: scenes.Scene) -> None:
        link = invited(scenes.signed_in(quiet.user))
        assert b"too short" in Client().post(link, {"name": "Bob", "password": "short"}).content
        assert place("bob@example.com").state == "invited"

    def test_that_is_none_is_gone(self, db: None) -> None:
        assert Client().get("/accounts/invitation/nonsense").status_code == 410

    def test_says_so_when_the_email_cannot_be_sent(self, quiet: scenes.Scene, monkeypatch: pytest.MonkeyPatch) -> None:
        def fail(*given: Any, **named: Any) -> None:
            raise ConnectionRefusedError

        monkeypatch.setattr("dashboard.views.team.send_mail", fail)
        form = {"email": "bob@example.com", "role": "analyst"}
        response = scenes.signed_in(quiet.user).post(f"{HOME}/settings/team/invite", form, follow=True)
        assert b"could not be sent" in response.content
        assert place("bob@example.com").state == "invited"

    def test_is_sent_again(self, quiet: scenes.Scene) -> None:
        client = scenes.signed_in(quiet.user)
        invited(client)
        client.post(path(place("bob@example.com")), {"again": "1"})
        assert len(mail.outbox) == 2


class TestMember:
    def test_gets_another_role(self, quiet: scenes.Scene) -> None:
        client = scenes.signed_in(quiet.user)
        invited(client)
        client.post(path(place("bob@example.com")), {"role": "analyst"})
        assert place("bob@example.com").role == "analyst"

    @pytest.mark.parametrize("role", ["owner", "emperor", ""])
    def test_gets_no_role_that_is_not_the_admins_to_give(self, quiet: scenes.Scene, role: str) -> None:
        invited(scenes.signed_in(quiet.user), role="analyst")
        Membership.objects.filter(user=quiet.user).update(role="admin")
        response = scenes.signed_in(quiet.user).post(path(place("bob@example.com")), {"role": role})
        assert b'class="errorlist' in response.content
        assert place("bob@example.com").role == "analyst"

    def test_is_removed_after_a_question(self, quiet: scenes.Scene) -> None:
        client = scenes.signed_in(quiet.user)
        link = invited(client)
        bob = place("bob@example.com")
        assert b"Take back the invitation" in client.get(f"{path(bob)}/remove").content
        client.post(f"{path(bob)}/remove")
        assert not Membership.objects.filter(id=bob.id).exists()
        assert Client().get(link).status_code == 410

    def test_loses_access_at_once(self, quiet: scenes.Scene) -> None:
        user = User.objects.create_user("bob@example.com", scenes.PASSWORD)
        Membership.objects.create(organization=quiet.test.organization, user=user, role="developer")
        bob = scenes.signed_in(user)
        assert bob.get(f"{HOME}/").status_code == 200
        scenes.signed_in(quiet.user).post(f"{path(place('bob@example.com'))}/remove")
        assert bob.get(f"{HOME}/").status_code == 404


class TestLeave:
    def test_is_refused_to_the_last_owner(self, quiet: scenes.Scene) -> None:
        client = scenes.signed_in(quiet.user)
        for target in (f"{HOME}/settings/leave", f"{path(place(quiet.user.email))}/remove"):
            assert b"last owner cannot go" in client.post(target).content
        assert place(quiet.user.email).role == "owner"

    def test_is_free_to_everybody_else(self, quiet: scenes.Scene) -> None:
        user = User.objects.create_user("bob@example.com", scenes.PASSWORD)
        Membership.objects.create(organization=quiet.test.organization, user=user, role="analyst")
        client = scenes.signed_in(user)
        assert client.get(f"{HOME}/settings/leave").status_code == 200
        assert client.post(f"{HOME}/settings/leave")["Location"] == "/"
        assert not Membership.objects.filter(user=user).exists()
