"""Organizations, their two merchants (test and live), people, keys, products and the audit log."""

from typing import ClassVar

from django.contrib.auth.models import AbstractBaseUser, BaseUserManager, PermissionsMixin
from django.contrib.postgres.fields import ArrayField
from django.db import models

from merchants import ids
from merchants.tables import TableClass


class Mode(models.TextChoices):
    TEST = "test"
    LIVE = "live"


class Role(models.TextChoices):
    OWNER = "owner"
    ADMIN = "admin"
    DEVELOPER = "developer"
    ANALYST = "analyst"


class UserManager(BaseUserManager["User"]):
    def create_user(self, email: str, password: str | None = None, **extra: object) -> "User":
        """Create a person who signs in with an e-mail address."""
        user = self.model(email=email.strip().lower(), **extra)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, email: str, password: str | None = None, **extra: object) -> "User":
        """Create an operator."""
        return self.create_user(email, password, is_staff=True, is_superuser=True, **extra)


class User(AbstractBaseUser, PermissionsMixin):
    """A person. What a person may do is decided by memberships, never by this row."""

    table_class = TableClass.REFERENCE

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    email = models.EmailField(unique=True)
    name = models.CharField(max_length=200, blank=True)
    is_active = models.BooleanField(default=True)
    is_staff = models.BooleanField(default=False)
    created_at = models.DateTimeField(auto_now_add=True)

    objects: ClassVar[UserManager] = UserManager()

    USERNAME_FIELD = "email"
    EMAIL_FIELD = "email"
    REQUIRED_FIELDS: ClassVar[list[str]] = []


class Organization(models.Model):
    """A company. It sells through two merchants that share nothing but this row and the team."""

    table_class = TableClass.REFERENCE

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    name = models.CharField(max_length=200)
    slug = models.SlugField(max_length=80, unique=True)
    timezone = models.CharField(max_length=64, default="UTC")
    created_at = models.DateTimeField(auto_now_add=True)


class Merchant(models.Model):
    """One tenant: an organization in one mode. Every key, row and page belongs to exactly one."""

    table_class = TableClass.REFERENCE

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.PROTECT, related_name="merchants")
    mode = models.CharField(max_length=4, choices=Mode)
    # Fraction of the net amount that the platform keeps; taken from the merchant's side, never added to the price.
    platform_fee_rate = models.DecimalField(max_digits=7, decimal_places=6, default=0)
    # Usage from before is not recorded or corrected any more; null: usage of any age is.
    usage_since = models.DateTimeField(null=True)
    # Where customers may be sent from hosted pages, and which sites may show those in a frame: "https://shop.example".
    allowed_origins = ArrayField(models.CharField(max_length=200), default=list)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "mode"], name="merchant_once_per_mode"),
            models.CheckConstraint(
                condition=models.Q(platform_fee_rate__gte=0, platform_fee_rate__lt=1), name="platform_fee_is_a_fraction"
            ),
        ]


class Membership(models.Model):
    """A person's role in an organization; invited people have no role until they accept."""

    table_class = TableClass.REFERENCE

    class State(models.TextChoices):
        INVITED = "invited"
        ACTIVE = "active"
        SUSPENDED = "suspended"

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    organization = models.ForeignKey(Organization, on_delete=models.CASCADE, related_name="memberships")
    user = models.ForeignKey(User, on_delete=models.CASCADE, related_name="memberships")
    role = models.CharField(max_length=10, choices=Role)
    state = models.CharField(max_length=10, choices=State, default=State.ACTIVE)
    created_at = models.DateTimeField(auto_now_add=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["organization", "user"], name="membership_once_per_organization")
        ]


class ApiKey(models.Model):
    """A secret that opens one merchant. The secret itself is shown once and kept only as a keyed hash."""

    table_class = TableClass.REFERENCE

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    merchant = models.ForeignKey(Merchant, on_delete=models.CASCADE, related_name="api_keys")
    name = models.CharField(max_length=100)
    hint = models.CharField(max_length=24)  # kind, mode and last four characters: enough to recognise, not to use
    digest = models.BinaryField(max_length=32, unique=True)
    scopes = ArrayField(models.CharField(max_length=40))
    created_by = models.ForeignKey(User, on_delete=models.SET_NULL, null=True)
    created_at = models.DateTimeField()
    last_used_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    revoked_at = models.DateTimeField(null=True)
    # Set when this key was rolled: it keeps working beside its successor until expires_at.
    successor = models.ForeignKey("self", on_delete=models.SET_NULL, null=True)

    class Meta:
        indexes = [models.Index(fields=["merchant", "created_at"], name="api_key_by_merchant")]


class Product(models.Model):
    """Something a merchant sells; metrics, fees and plans hang from it."""

    table_class = TableClass.REFERENCE

    id = models.UUIDField(primary_key=True, default=ids.new, editable=False)
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT, related_name="products")
    name = models.CharField(max_length=200)
    description = models.TextField(blank=True)
    metadata = models.JSONField(default=dict)
    created_at = models.DateTimeField()
    updated_at = models.DateTimeField()

    class Meta:
        indexes = [models.Index(fields=["merchant", "created_at"], name="product_by_merchant")]


class AuditEntry(models.Model):
    """One privileged change: who, from where, what, before and after. Rows are only ever added.

    ``digest`` chains each entry of a merchant to the one before it, so a removed or altered row shows.
    """

    table_class = TableClass.MERCHANT

    pk = models.CompositePrimaryKey("merchant_id", "number")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    number = models.BigIntegerField()
    at = models.DateTimeField()
    actor = models.CharField(max_length=120)  # "user:<id>", "key:<id>" or "system"
    action = models.CharField(max_length=80)
    target = models.CharField(max_length=80, blank=True)
    changes = models.JSONField(default=dict)
    request_id = models.CharField(max_length=64, blank=True)
    address = models.GenericIPAddressField(null=True)
    digest = models.BinaryField(max_length=32)

    class Meta:
        indexes = [models.Index(fields=["merchant", "target"], condition=~models.Q(target=""), name="audit_by_target")]


class IdempotentAnswer(models.Model):
    """What a write was answered under its ``Idempotency-Key``, kept for ever, in the transaction of its effect.

    The body is text, not jsonb: a replay repeats it to the byte.
    """

    table_class = TableClass.MERCHANT

    pk = models.CompositePrimaryKey("merchant_id", "kind", "key")
    merchant = models.ForeignKey(Merchant, on_delete=models.PROTECT)
    kind = models.CharField(max_length=80)
    key = models.CharField(max_length=255)
    fingerprint = models.BinaryField(max_length=16)
    status = models.PositiveSmallIntegerField(null=True)
    body = models.TextField(default="")
    created_at = models.DateTimeField()
