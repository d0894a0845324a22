"""How an organization comes to be, and how people join it."""

from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import IntegrityError, transaction
from django.utils.text import slugify

from merchants import audit, fields, ids, keys, roles
from merchants.audit import Actor
from merchants.errors import Conflict, Forbidden, ValidationFailed
from merchants.models import Membership, Merchant, Mode, Organization, Role, User

NAME_LENGTH_MAX = 200
EMAIL_LENGTH_MAX = 254
SLUG_STEM_LENGTH_MAX = 60
FIRST_KEY_NAME = "First key"
# First words of paths that are not an organization's.
RESERVED_SLUGS = frozenset(
    {
        "a", "accounts", "admin", "api", "docs", "gateway", "healthz", "hub", "metrics", "pay", "portal", "pricing",
        "readyz", "redoc", "static", "test", "theme", "v0", "v1", "v2",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Registered:
    """A new organization with its owner, its two merchants and the secret of its first test key."""

    organization: Organization
    test: Merchant
    live: Merchant
    user: User
    secret: str


def register(
    *, organization: str, email: str, password: str, name: str = "", timezone: str = "UTC", now: datetime
) -> Registered:
    """Found an organization: two merchants, an owner who can sign in, and a first test key.

    Raises:
        ValidationFailed: a field is not usable, the password is weak, or the time zone does not exist.
        Conflict: somebody is registered under this e-mail address.
    """
    title = fields.text(organization, "organization", length_max=NAME_LENGTH_MAX)
    person = fields.text(name, "name", length_min=0, length_max=NAME_LENGTH_MAX)
    address = email_address(email)
    _check_timezone(timezone)
    user = User(email=address, name=person)
    _check_password(password, user)
    with transaction.atomic():
        user.set_password(password)
        _add_user(user)
        founded = _found(Organization(name=title, timezone=timezone))
        test = Merchant.objects.create(organization=founded, mode=Mode.TEST)
        live = Merchant.objects.create(organization=founded, mode=Mode.LIVE)
        Membership.objects.create(organization=founded, user=user, role=Role.OWNER)
        actor = Actor(f"user:{ids.text('usr', user.id)}")
        for merchant in (test, live):
            audit.append(
                merchant_id=merchant.id,
                actor=actor,
                action="organization.registered",
                target=ids.text("org", merchant.id),
                changes={"name": title, "owner": address, "timezone": timezone},
                now=now,
            )
        first = keys.create(
            merchant=test, name=FIRST_KEY_NAME, scopes=[roles.EVERYTHING], actor=actor, now=now, created_by=user
        )
    return Registered(founded, test, live, user, first.secret)


def invite(*, organization: Organization, email: str, role: Role, invited_by: User, now: datetime) -> Membership:
    """Give a person a place in the team that becomes active when they accept.

    Raises:
        Forbidden: the inviter may not change the team, or offers the owner's role without being one.
        Conflict: the person is in the team.
    """
    address = email_address(email)
    with transaction.atomic():
        inviter = Membership.objects.filter(
            organization=organization, user=invited_by, state=Membership.State.ACTIVE
        ).first()
        if inviter is None:
            raise Forbidden("Only members may invite.", reason="not_member")
        if not roles.may(inviter.role, "members:write") or (role == Role.OWNER and inviter.role != Role.OWNER):
            raise Forbidden("This role may not invite.", reason="no_permission", required_permissions=["members:write"])
        person = User.objects.filter(email=address).first() or User.objects.create_user(address)
        membership, is_new = Membership.objects.get_or_create(
            organization=organization, user=person, defaults={"role": role, "state": Membership.State.INVITED}
        )
        if not is_new:
            raise Conflict("This person is in the team.", code="ALREADY_MEMBER")
        _record_for_both(organization, invited_by, "member.invited", {"email": address, "role": str(role)}, now)
    return membership


def accept(*, membership: Membership, user: User, now: datetime) -> Membership:
    """Make an invited person's place active.

    Raises:
        Forbidden: the invitation is somebody else's, or was suspended.
    """
    with transaction.atomic():
        place = Membership.objects.select_for_update(of=("self",)).select_related("organization").get(id=membership.id)
        if place.user_id != user.id or place.state == Membership.State.SUSPENDED:
            raise Forbidden("This invitation is not yours to accept.", reason="not_member")
        if place.state == Membership.State.INVITED:
            place.state = Membership.State.ACTIVE
            place.save(update_fields=["state"])
            _record_for_both(place.organization, user, "member.joined", {"role": place.role}, now)
    return place


def email_address(value: object, field: str = "email") -> str:
    """Return an e-mail address in lower case.

    Raises:
        ValidationFailed: it is not one.
    """
    address = fields.text(value, field, length_max=EMAIL_LENGTH_MAX).lower()
    try:
        validate_email(address)
    except ValidationError as error:
        raise ValidationFailed(f"{field} must be an e-mail address.", field=field, code="INVALID_EMAIL") from error
    return address


def _check_timezone(name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:  # a name may also be a path that leads nowhere
        message = "timezone must be a name of the IANA database, like Europe/Berlin."
        raise ValidationFailed(message, field="timezone", code="INVALID_TIMEZONE") from error


def _check_password(password: str, user: User) -> None:
    try:
        validate_password(password, user)
    except ValidationError as error:
        raise ValidationFailed(" ".join(error.messages), field="password", code="WEAK_PASSWORD") from error


def _add_user(user: User) -> None:
    try:
        with transaction.atomic():
            user.save(force_insert=True)
    except IntegrityError as error:
        raise Conflict("Somebody is registered under this e-mail address.", code="EMAIL_TAKEN") from error


def _found(organization: Organization) -> Organization:
    stem = slugify(organization.name)[:SLUG_STEM_LENGTH_MAX].strip("-") or "organization"
    distinct = f"{stem}-{organization.id.hex[-12:]}"
    organization.slug = distinct if stem in RESERVED_SLUGS else stem
    try:
        with transaction.atomic():
            organization.save(force_insert=True)
    except IntegrityError:  # another organization of this name
        organization.slug = distinct
        organization.save(force_insert=True)
    return organization


def _record_for_both(
    organization: Organization, user: User, action: str, changes: dict[str, str], now: datetime
) -> None:
    actor = Actor(f"user:{ids.text('usr', user.id)}")
    for merchant in organization.merchants.order_by("id"):
        audit.append(
            merchant_id=merchant.id,
            actor=actor,
            action=action,
            target=ids.text("org", merchant.id),
            changes=changes,
            now=now,
        )
