"""Who belongs to an organization: people are invited by a link, take their place, change roles and leave.

Each change locks the organization's row first, so that two owners cannot make each other the last to go.
"""

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final
from uuid import UUID

from django.core import signing
from django.db import transaction

from merchants import audit, fields, ids, registration, roles
from merchants.audit import Actor
from merchants.errors import Conflict, Forbidden, NotFound, ValidationFailed
from merchants.models import Membership, Organization, Role, User

INVITATION_LIFETIME: Final = timedelta(days=7)
MEMBERS_MAX = 500  # of one organization, invited ones included
PREFIX = "mem"

_SALT = "farthing.invitation"
_PAYLOAD_BYTES = 16 + 8
_State = Membership.State


class InvitationRefused(Exception):
    """The link is not one of ours, was used, was taken back, or its time is over."""


@dataclass(frozen=True, slots=True)
class Invitation:
    """An open place, and the token of the link that takes it: it works once, for one person, until it expires."""

    membership: Membership
    token: str
    expires_at: datetime


def members(organization: Organization) -> Sequence[Membership]:
    """List everybody in the team with their users, those who have joined first."""
    rows = organization.memberships.select_related("user").order_by("created_at", "id")[:MEMBERS_MAX]
    return sorted(rows, key=lambda row: row.state == _State.INVITED)


def find(*, organization: Organization, member_id: UUID) -> Membership:
    """Return a place in the team with its user; raises NotFound, also for another organization's."""
    found = organization.memberships.select_related("user").filter(id=member_id).first()
    if found is None:
        raise NotFound("There is no such member.")
    return found


def invite(
    *, organization: Organization, email: str, role: str, invited_by: User, actor: Actor | None = None, now: datetime
) -> Invitation:
    """Give a person a place in the team that becomes active when they accept.

    Raises:
        ValidationFailed: this is no address or no role.
        Forbidden: the inviter may not change the team, or offers the owner's role without being one.
        Conflict: the person is in the team, or the team is full.
    """
    address = registration.email_address(email)
    with transaction.atomic():
        _lock(organization)
        _check(organization, invited_by, _role(role))
        if organization.memberships.count() >= MEMBERS_MAX:
            raise Conflict(f"A team has at most {MEMBERS_MAX} members.", code="TEAM_FULL")
        person = User.objects.filter(email=address).first() or User.objects.create_user(address)
        membership, is_new = Membership.objects.select_related("user", "organization").get_or_create(
            organization=organization, user=person, defaults={"role": role, "state": _State.INVITED}
        )
        if not is_new:
            raise Conflict("This person is in the team, or invited, already.", code="ALREADY_MEMBER")
        _record(organization, "member.invited", membership, actor or _as(invited_by), now, email=address, role=role)
    return _invitation(membership, now)


def renew(*, organization: Organization, member_id: UUID, invited_by: User, actor: Actor, now: datetime) -> Invitation:
    """Make another link for somebody who was invited and has not come; the first works on until it expires.

    Raises:
        NotFound, Forbidden: like ``invite``.
        Conflict: this person has joined.
    """
    with transaction.atomic():
        _lock(organization)
        membership = find(organization=organization, member_id=member_id)
        _check(organization, invited_by, membership.role)
        if membership.state != _State.INVITED:
            raise Conflict("This person has joined.", code="ALREADY_MEMBER")
        _record(organization, "member.invited_again", membership, actor, now, email=membership.user.email)
    return _invitation(membership, now)


def read(token: str, *, now: datetime) -> Membership:
    """Return the place that a token takes, with its user and organization; raises InvitationRefused."""
    try:
        payload = signing.Signer(sep=".", salt=_SALT).unsign(token)
        raw = base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))
    except (signing.BadSignature, binascii.Error, ValueError) as error:
        raise InvitationRefused("not an invitation of this installation") from error
    if len(raw) != _PAYLOAD_BYTES or now.timestamp() >= int.from_bytes(raw[16:], "big"):
        raise InvitationRefused("the invitation has expired")
    rows = Membership.objects.select_related("user", "organization")
    membership = rows.filter(id=UUID(bytes=raw[:16]), state=_State.INVITED).first()
    if membership is None:
        raise InvitationRefused("the invitation was used or taken back")
    return membership


def accept(*, membership: Membership, user: User, now: datetime) -> Membership:
    """Make an invited person's place active.

    Raises:
        Forbidden: the invitation is somebody else's, was used, was taken back or was suspended.
    """
    with transaction.atomic():
        _lock(membership.organization)
        place = Membership.objects.select_related("organization", "user").filter(id=membership.id).first()
        if place is None or place.user_id != user.id or place.state != _State.INVITED:
            raise Forbidden("This invitation is not yours to accept.", reason="not_member")
        place.state = _State.ACTIVE
        place.save(update_fields=["state"])
        _record(place.organization, "member.joined", place, _as(user), now, role=place.role)
    return place


def join(*, membership: Membership, name: str, password: str, now: datetime) -> Membership:
    """Make an account of an invited person who has none, and their place active: the link proved the address.

    Raises:
        ValidationFailed: the name is not usable or the password is weak.
        Forbidden: the person can sign in already, or like ``accept``.
    """
    called = fields.text(name, "name", length_max=registration.NAME_LENGTH_MAX)
    with transaction.atomic():
        _lock(membership.organization)
        user = User.objects.select_for_update(no_key=True).get(id=membership.user_id)
        if user.has_usable_password():
            raise Forbidden("Sign in to accept this invitation.", reason="not_member")
        user.name = called
        registration.check_password(password, user)
        user.set_password(password)
        user.save(update_fields=["name", "password"])
        return accept(membership=membership, user=user, now=now)


def change_role(
    *, organization: Organization, member_id: UUID, role: str, changed_by: User, actor: Actor, now: datetime
) -> Membership:
    """Give a member, or somebody invited, another role.

    Raises:
        NotFound, ValidationFailed: there is no such member or role.
        Forbidden: only owners make owners and change them.
        Conflict: there would be no owner left.
    """
    with transaction.atomic():
        _lock(organization)
        membership = find(organization=organization, member_id=member_id)
        _check(organization, changed_by, _role(role), membership.role)
        before = membership.role
        if before == role:
            return membership
        if before == Role.OWNER:
            _keep_an_owner(organization, membership)
        membership.role = role
        membership.save(update_fields=["role"])
        _record(organization, "member.role_changed", membership, actor, now, before=before, after=role)
    return membership


def remove(*, organization: Organization, member_id: UUID, removed_by: User, actor: Actor, now: datetime) -> None:
    """Take a member out of the team, or an invitation back; anybody may leave. Keys they made go on working.

    Raises:
        NotFound: there is no such member.
        Forbidden: only owners remove owners, and only those who may change the team anybody else.
        Conflict: the last owner cannot leave.
    """
    with transaction.atomic():
        _lock(organization)
        membership = find(organization=organization, member_id=member_id)
        is_leaving = membership.user_id == removed_by.id
        if not is_leaving:
            _check(organization, removed_by, membership.role)
        if membership.role == Role.OWNER:
            _keep_an_owner(organization, membership)
        _record(
            organization,
            "member.left" if is_leaving else "member.removed",
            membership,
            actor,
            now,
            email=membership.user.email,
            role=membership.role,
        )
        membership.delete()


def _lock(organization: Organization) -> None:
    Organization.objects.select_for_update(no_key=True).only("id").get(id=organization.id)


def _role(role: str) -> str:
    if role not in Role.values:
        raise ValidationFailed("role must be one of the roles.", field="role", code="INVALID_ROLE")
    return str(role)


def _check(organization: Organization, user: User, *touched: str) -> None:
    """Refuse somebody who may not change the team, or touches the owner's role without having it."""
    own = organization.memberships.filter(user=user, state=_State.ACTIVE).values_list("role", flat=True).first()
    if own is None:
        raise Forbidden("Only members may change the team.", reason="not_member")
    if not roles.may(own, "members:write") or (Role.OWNER in touched and own != Role.OWNER):
        raise Forbidden("This role may not do that.", reason="no_permission", required_permissions=["members:write"])


def _keep_an_owner(organization: Organization, leaving: Membership) -> None:
    others = organization.memberships.filter(role=Role.OWNER, state=_State.ACTIVE).exclude(id=leaving.id)
    if leaving.state == _State.ACTIVE and not others.exists():
        raise Conflict("The last owner cannot go. Make somebody else an owner first.", code="LAST_OWNER")


def _invitation(membership: Membership, now: datetime) -> Invitation:
    expires_at = now + INVITATION_LIFETIME
    raw = membership.id.bytes + int(expires_at.timestamp()).to_bytes(8, "big")
    payload = base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return Invitation(membership, signing.Signer(sep=".", salt=_SALT).sign(payload), expires_at)


def _as(user: User) -> Actor:
    return Actor(f"user:{ids.text('usr', user.id)}")


def _record(
    organization: Organization, action: str, membership: Membership, actor: Actor, now: datetime, **changes: Any
) -> None:
    """Write it down for both merchants: the team is the same in either mode."""
    for merchant in organization.merchants.order_by("id"):
        audit.append(
            merchant_id=merchant.id,
            actor=actor,
            action=action,
            target=ids.text(PREFIX, membership.id),
            changes={name: str(value) for name, value in changes.items()},
            now=now,
        )
