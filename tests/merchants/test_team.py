"""Who belongs to an organization."""

import threading
from datetime import timedelta

import pytest
from django.db import connection

from merchants import audit, registration, team
from merchants.audit import Actor
from merchants.errors import Conflict, Forbidden, NotFound, ValidationFailed
from merchants.models import AuditEntry, Membership, Organization, Role, User
from tests.factories import NOW

PASSWORD = "correct horse battery"
ACTOR = Actor("user:usr_1", request_id="req_12345678", address="192.0.2.7")
State = Membership.State

pytestmark = pytest.mark.django_db


def register(email: str = "ada@northwind.example") -> registration.Registered:
    return registration.register(organization="Northwind", email=email, password=PASSWORD, now=NOW)


def colleague(organization: Organization, role: Role) -> Membership:
    user = User.objects.create_user(f"{role}{User.objects.count()}@northwind.example", PASSWORD)
    return Membership.objects.create(organization=organization, user=user, role=role)


def invite(made: registration.Registered, by: User | None = None, **given: object) -> team.Invitation:
    wanted = {"email": "bob@northwind.example", "role": Role.DEVELOPER, **given}
    return team.invite(organization=made.organization, invited_by=by or made.user, now=NOW, **wanted)


def change(made: registration.Registered, member: Membership, role: str, by: User) -> Membership:
    return team.change_role(
        organization=made.organization, member_id=member.id, role=role, changed_by=by, actor=ACTOR, now=NOW
    )


def remove(made: registration.Registered, member: Membership, by: User) -> None:
    team.remove(organization=made.organization, member_id=member.id, removed_by=by, actor=ACTOR, now=NOW)


class TestInvite:
    def test_gives_a_place_that_waits_to_be_taken(self):
        place = invite(register(), email="Bob@northwind.example").membership

        assert (place.state, place.role) == (State.INVITED, Role.DEVELOPER)
        assert place.user.email == "bob@northwind.example"
        assert not place.user.has_usable_password()

    def test_is_on_record_in_both_modes(self):
        made = register()
        invite(made)

        invited = AuditEntry.objects.filter(action="member.invited")
        assert set(invited.values_list("merchant_id", flat=True)) == {made.test.id, made.live.id}
        assert audit.first_break(merchant_id=made.live.id) is None

    @pytest.mark.parametrize(
        ("role", "offered"), [("analyst", "analyst"), ("developer", "analyst"), ("admin", "owner")]
    )
    def test_is_for_those_who_may_change_the_team_and_owners_for_owners(self, role, offered):
        made = register()
        by = colleague(made.organization, role).user

        with pytest.raises(Forbidden) as refused:
            invite(made, by, role=offered)

        assert refused.value.required_permissions == ["members:write"]
        assert not AuditEntry.objects.filter(action="member.invited").exists()

    def test_is_refused_to_strangers(self):
        made, other = register(), register("x@other.example")

        with pytest.raises(Forbidden):
            invite(made, other.user)

    def test_is_refused_to_those_who_have_not_joined_yet(self):
        made = register()
        waiting = invite(made, role=Role.ADMIN).membership

        with pytest.raises(Forbidden):
            invite(made, waiting.user, email="eve@northwind.example")

    def test_reaches_nobody_twice(self):
        made = register()
        invite(made)

        with pytest.raises(Conflict):
            invite(made)

    @pytest.mark.parametrize("given", [{"email": "nobody"}, {"role": "emperor"}])
    def test_refuses_what_is_not_usable(self, given):
        with pytest.raises(ValidationFailed) as refused:
            invite(register(), **given)

        assert [error["field"] for error in refused.value.errors] == list(given)

    def test_fills_a_team_and_no_more(self, monkeypatch):
        monkeypatch.setattr(team, "MEMBERS_MAX", 2)
        made = register()
        invite(made)

        with pytest.raises(Conflict):
            invite(made, email="eve@northwind.example")


class TestRead:
    def test_works_until_the_invitation_expires(self):
        invitation = invite(register())

        assert team.read(invitation.token, now=invitation.expires_at - timedelta(seconds=1)) == invitation.membership
        with pytest.raises(team.InvitationRefused):
            team.read(invitation.token, now=invitation.expires_at)

    def test_works_once(self):
        invitation = invite(register())
        team.join(membership=invitation.membership, name="Bob", password=PASSWORD, now=NOW)

        with pytest.raises(team.InvitationRefused):
            team.read(invitation.token, now=NOW)

    def test_ends_with_the_invitation_and_stays_ended(self):
        made = register()
        invitation = invite(made)
        remove(made, invitation.membership, made.user)
        invite(made)

        with pytest.raises(team.InvitationRefused):
            team.read(invitation.token, now=NOW)

    @pytest.mark.parametrize("token", ["", "x", "x.y", "é.é", "AAAA.BBBB"])
    def test_believes_no_other_text(self, token):
        with pytest.raises(team.InvitationRefused):
            team.read(token, now=NOW)

    def test_believes_no_other_membership(self):
        token = invite(register()).token
        payload, _, signature = token.partition(".")

        with pytest.raises(team.InvitationRefused):
            team.read(f"{payload[:-4]}AAAA.{signature}", now=NOW)


class TestAccept:
    def test_is_for_the_invited_person_only(self):
        made = register()
        place = invite(made).membership

        with pytest.raises(Forbidden):
            team.accept(membership=place, user=made.user, now=NOW)
        assert team.accept(membership=place, user=place.user, now=NOW).state == State.ACTIVE

    def test_works_once_and_never_after_it_was_taken_back(self):
        made = register()
        first, second = invite(made).membership, invite(made, email="eve@northwind.example").membership
        team.accept(membership=first, user=first.user, now=NOW)
        remove(made, second, made.user)

        for place in (first, second):
            with pytest.raises(Forbidden):
                team.accept(membership=place, user=place.user, now=NOW)


class TestJoin:
    def test_makes_an_account(self):
        place = team.join(membership=invite(register()).membership, name="Bob", password=PASSWORD, now=NOW)

        assert (place.state, place.user.name) == (State.ACTIVE, "Bob")
        assert place.user.check_password(PASSWORD)

    def test_never_changes_the_password_of_somebody_who_has_one(self):
        made, other = register(), register("bob@northwind.example")
        place = invite(made).membership

        with pytest.raises(Forbidden):
            team.join(membership=place, name="Thief", password="another horse battery", now=NOW)

        other.user.refresh_from_db()
        assert other.user.check_password(PASSWORD)

    @pytest.mark.parametrize("given", [{"password": "short"}, {"name": " "}])
    def test_refuses_what_is_not_usable_and_leaves_the_place_open(self, given):
        place = invite(register()).membership

        with pytest.raises(ValidationFailed):
            team.join(membership=place, **{"name": "Bob", "password": PASSWORD, **given}, now=NOW)

        place.refresh_from_db()
        assert place.state == State.INVITED


class TestRenew:
    def test_gives_another_link_to_the_same_place(self):
        made = register()
        first = invite(made)
        later = NOW + timedelta(days=8)
        again = team.renew(
            organization=made.organization, member_id=first.membership.id, invited_by=made.user, actor=ACTOR, now=later
        )

        assert team.read(again.token, now=later) == first.membership
        with pytest.raises(team.InvitationRefused):
            team.read(first.token, now=later)

    def test_is_for_those_who_have_not_come(self):
        made = register()
        member = colleague(made.organization, Role.ANALYST)

        with pytest.raises(Conflict):
            team.renew(organization=made.organization, member_id=member.id, invited_by=made.user, actor=ACTOR, now=NOW)


class TestChangeRole:
    def test_is_on_record(self):
        made = register()
        member = change(made, colleague(made.organization, Role.ANALYST), Role.ADMIN, made.user)

        assert member.role == Role.ADMIN
        entry = AuditEntry.objects.filter(merchant_id=made.test.id, action="member.role_changed").get()
        assert (entry.changes, entry.address) == ({"before": "analyst", "after": "admin"}, "192.0.2.7")

    @pytest.mark.parametrize(
        ("by", "before", "after"),
        [
            ("developer", "analyst", "developer"),
            ("admin", "analyst", "owner"),
            ("admin", "owner", "analyst"),
            ("analyst", "analyst", "owner"),
        ],
    )
    def test_lets_nobody_rise_above_themselves(self, by, before, after):
        made = register()
        member = colleague(made.organization, before)

        with pytest.raises(Forbidden):
            change(made, member, after, colleague(made.organization, by).user)

        member.refresh_from_db()
        assert member.role == before

    def test_leaves_an_owner(self):
        made = register()
        own = Membership.objects.get(user=made.user)
        invite(made, role=Role.OWNER)  # who has not come is no owner yet

        with pytest.raises(Conflict):
            change(made, own, Role.ADMIN, made.user)
        colleague(made.organization, Role.OWNER)
        assert change(made, own, Role.ADMIN, made.user).role == Role.ADMIN

    def test_knows_no_role_of_that_name(self):
        made = register()
        with pytest.raises(ValidationFailed):
            change(made, colleague(made.organization, Role.ANALYST), "emperor", made.user)


class TestRemove:
    def test_lets_anybody_leave(self):
        made = register()
        member = colleague(made.organization, Role.ANALYST)
        remove(made, member, member.user)

        assert not Membership.objects.filter(id=member.id).exists()
        assert AuditEntry.objects.filter(merchant_id=made.test.id, action="member.left").exists()

    @pytest.mark.parametrize(("by", "role"), [("analyst", "analyst"), ("developer", "analyst"), ("admin", "owner")])
    def test_is_for_those_who_may(self, by, role):
        made = register()
        member = colleague(made.organization, role)

        with pytest.raises(Forbidden):
            remove(made, member, colleague(made.organization, by).user)
        assert Membership.objects.filter(id=member.id).exists()

    def test_leaves_an_owner(self):
        made = register()
        with pytest.raises(Conflict):
            remove(made, Membership.objects.get(user=made.user), made.user)

    def test_knows_nobody_of_another_organization(self):
        made, other = register(), register("x@other.example")
        with pytest.raises(NotFound):
            remove(made, Membership.objects.get(user=other.user), made.user)


@pytest.mark.django_db(transaction=True)
def test_two_owners_who_leave_at_once_leave_one():
    made = register()
    owners = [Membership.objects.get(user=made.user), colleague(made.organization, Role.OWNER)]
    refused = []

    def leave(member: Membership) -> None:
        try:
            remove(made, member, member.user)
        except Conflict as conflict:
            refused.append(conflict.code)
        finally:
            connection.close()

    threads = [threading.Thread(target=leave, args=[member]) for member in owners]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert refused == ["LAST_OWNER"]
    assert Membership.objects.filter(organization=made.organization, role=Role.OWNER).count() == 1
