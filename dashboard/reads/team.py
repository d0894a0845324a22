"""The team as its page lists it: who, in which role, since when, and how they sign in."""

from dataclasses import dataclass
from datetime import datetime

from allauth.mfa.models import Authenticator

from merchants import ids, team
from merchants.models import Membership, Organization, User


@dataclass(frozen=True, slots=True)
class MemberRow:
    """One place in a team."""

    id: str
    name: str
    email: str
    role: str
    state: str
    has_second_factor: bool
    last_seen_at: datetime | None  # when they last signed in
    created_at: datetime
    is_me: bool

    @property
    def is_invited(self) -> bool:
        return self.state == Membership.State.INVITED


def listing(*, organization: Organization, me: User) -> list[MemberRow]:
    """Return everybody in the team, those who were invited and have not come yet last."""
    members = team.members(organization)
    protected = set(
        Authenticator.objects.filter(user__in=[member.user_id for member in members])
        .exclude(type=Authenticator.Type.RECOVERY_CODES)
        .values_list("user_id", flat=True)
    )
    return [row(member, me=me, has_second_factor=member.user_id in protected) for member in members]


def row(member: Membership, *, me: User, has_second_factor: bool = False) -> MemberRow:
    """Describe one place in a team."""
    return MemberRow(
        id=ids.text(team.PREFIX, member.id),
        name=member.user.name,
        email=member.user.email,
        role=member.role,
        state=member.state,
        has_second_factor=has_second_factor,
        last_seen_at=member.user.last_login,
        created_at=member.created_at,
        is_me=member.user_id == me.id,
    )
