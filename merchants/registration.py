"""How an organization comes to be."""

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
from merchants.errors import Conflict, ValidationFailed
from merchants.models import Membership, Merchant, Mode, Organization, Role, User

NAME_LENGTH_MAX = 200
EMAIL_LENGTH_MAX = 254
SLUG_STEM_LENGTH_MAX = 60
FIRST_KEY_NAME = "First key"
# First words of paths that are not an organization's.
RESERVED_SLUGS = frozenset(
    {
        "a", "accounts", "admin", "api", "docs", "gateway", "healthz", "hub", "metrics", "pay", "portal", "pricing",
        "readyz", "redoc", "static", "test", "theme", "v0", "v1", "v2", "webhooks",
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
    check_password(password, user)
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


def check_password(password: str, user: User) -> None:
    """Refuse a password that is too easy to guess; raises ValidationFailed."""
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
