"""Every setting, read from the environment, with its default and its unit.

Two database roles exist. The *owner* runs migrations and owns the tables; the *app* role is what the
web processes and workers connect as, and it may not UPDATE or DELETE what the ledger has posted.
``FARTHING_DATABASE_ROLE=owner`` selects the owner (``make migrate``, ``manage.py migrate``).
"""

import base64
import hashlib
import hmac
import ipaddress
import os
import sys
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit

from config import embedded

BASE_DIR = Path(__file__).resolve().parent.parent
SEALING_KEY_BYTES = 32  # AES-256


def _flag(name: str, default: bool) -> bool:
    return os.environ.get(name, str(default)).strip().lower() in {"1", "true", "yes", "on"}


def _number(name: str, default: int) -> int:
    return int(os.environ.get(name, default))


def _words(name: str, default: str) -> list[str]:
    return [word for word in os.environ.get(name, default).replace(",", " ").split() if word]


def _sealing_keys(name: str) -> list[tuple[str, bytes]]:
    keys = []
    for word in _words(name, ""):
        key_id, _, encoded = word.partition(":")
        key = base64.b64decode(encoded, validate=True)
        if not key_id or len(key) != SEALING_KEY_BYTES:
            raise ValueError(f"{name} lists keys as name:base64 of {SEALING_KEY_BYTES} bytes")
        keys.append((key_id, key))
    return keys


def _derived_sealing_key(secret: str) -> tuple[str, bytes]:
    """Derive a key where none is given, named after the secret it comes from."""
    key = hmac.digest(secret.encode(), b"farthing sealing", "sha256")
    return f"derived-{hashlib.sha256(key).hexdigest()[:8]}", key


def _database(url: str) -> dict[str, object]:
    """Translate a PostgreSQL URL, also one whose host is a socket directory in its query, for Django."""
    parts = urlsplit(url)
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")),
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": query.pop("host", None) or unquote(parts.hostname or ""),
        "PORT": query.pop("port", None) or str(parts.port or ""),
        "CONN_MAX_AGE": 60,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": {
            "connect_timeout": "5",
            # Each connection has PostgreSQL plan a statement once, not each time: half of what invoicing costs it.
            "server_side_binding": True,
            "prepare_threshold": 3,
            **query,
            "options": "-c timezone=UTC -c lock_timeout=10s -c idle_in_transaction_session_timeout=60s",
        },
    }


# --- what this process is --------------------------------------------------------------------------------

DEBUG = _flag("FARTHING_DEBUG", False)
TESTING = "pytest" in sys.modules
# Where `make run` keeps its servers, its secret and its demo; other commands find them there.
DATA_DIR = Path(os.environ.get("FARTHING_DATA") or BASE_DIR / ".farthing")
SECRET_KEY = os.environ.get("FARTHING_SECRET_KEY") or embedded.kept_secret(DATA_DIR)
SECRET_KEY_FALLBACKS = _words("FARTHING_SECRET_KEY_FALLBACKS", "")
if not SECRET_KEY and (
    TESTING or DEBUG or (len(sys.argv) > 1 and sys.argv[1] in {"makemigrations", "spectacular", "collectstatic"})
):
    SECRET_KEY = "not-secret-used-only-by-tests-and-build-steps-0123456789"  # noqa: S105
# Peppers API key hashes; a list so that it can be rotated: the first hashes, all are tried.
API_KEY_PEPPERS = _words("FARTHING_API_KEY_PEPPERS", "") or [SECRET_KEY]
# Seal secrets that we must read again, each as `name:base64 of 32 bytes`: the first seals, all open.
SEALING_KEYS = _sealing_keys("FARTHING_SEALING_KEYS") or [
    _derived_sealing_key(secret) for secret in (SECRET_KEY, *SECRET_KEY_FALLBACKS)
]

PUBLIC_URL = os.environ.get("FARTHING_URL", "http://localhost:8000").rstrip("/")
ALLOWED_HOSTS = _words("FARTHING_ALLOWED_HOSTS", "localhost 127.0.0.1 [::1]")
CSRF_TRUSTED_ORIGINS = _words("FARTHING_TRUSTED_ORIGINS", "")
SECURE = PUBLIC_URL.startswith("https://")

# --- where state lives -----------------------------------------------------------------------------------

_EMBEDDED = embedded.urls(DATA_DIR)
DATABASE_URL = os.environ.get("DATABASE_URL") or _EMBEDDED.database
DATABASE_OWNER_URL = os.environ.get("DATABASE_OWNER_URL") or os.environ.get("DATABASE_URL") or _EMBEDDED.database_owner
_AS_OWNER = os.environ.get("FARTHING_DATABASE_ROLE") == "owner" or (len(sys.argv) > 1 and sys.argv[1] == "migrate")
DATABASES = {"default": _database(DATABASE_OWNER_URL if _AS_OWNER else DATABASE_URL)}
# The role granted to the app by migrations; None where app and owner are one role.
DATABASE_APP_ROLE = os.environ.get("FARTHING_APP_ROLE", "farthing_app")
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

REDIS_URL = os.environ.get("REDIS_URL") or _EMBEDDED.redis
CACHES = {
    "default": {
        "BACKEND": "django.core.cache.backends.redis.RedisCache",
        "LOCATION": REDIS_URL,
        "KEY_PREFIX": "farthing",
        "OPTIONS": {"socket_timeout": 2, "socket_connect_timeout": 1},
    }
}

# --- apps, from top to ground ----------------------------------------------------------------------------

INSTALLED_APPS = [
    "config",
    "dashboard",
    "portal",
    "charging",
    "entitlements",
    "billing",
    "metering",
    "customers",
    "merchants",
    "ui",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.forms",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "django_htmx",
    "template_partials",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "config.middleware.RequestIdMiddleware",
    "config.middleware.RequestMetricsMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "csp.middleware.CSPMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "config.middleware.OutageMiddleware",
]

ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
APPEND_SLASH = False

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": ["ui.templatetags.ui", "template_partials.templatetags.partials"],
        },
    }
]
FORM_RENDERER = "django.forms.renderers.TemplatesSetting"

# --- people ----------------------------------------------------------------------------------------------

AUTH_USER_MODEL = "merchants.User"
AUTHENTICATION_BACKENDS = ["allauth.account.auth_backends.AuthenticationBackend"]
PASSWORD_HASHERS = ["django.contrib.auth.hashers.Argon2PasswordHasher"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 12}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
]
ACCOUNT_LOGIN_METHODS = {"email"}
ACCOUNT_SIGNUP_FIELDS = ["email*", "password1*"]
ACCOUNT_USER_MODEL_USERNAME_FIELD = None
ACCOUNT_EMAIL_VERIFICATION = os.environ.get("FARTHING_EMAIL_VERIFICATION", "optional")
ACCOUNT_EMAIL_SUBJECT_PREFIX = ""
ACCOUNT_PREVENT_ENUMERATION = True
ACCOUNT_RATE_LIMITS = {"invite": "30/h/user", "accept_invitation": "20/m/ip"}  # besides allauth's own
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/"
ACCOUNT_LOGOUT_REDIRECT_URL = "account_login"
SESSION_ENGINE = "django.contrib.sessions.backends.db"
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = SECURE
SESSION_COOKIE_HTTPONLY = True
# Printed, unless a mail server is named.
EMAIL_HOST = os.environ.get("FARTHING_EMAIL_HOST", "")
EMAIL_BACKEND = os.environ.get(
    "FARTHING_EMAIL_BACKEND", f"django.core.mail.backends.{'smtp' if EMAIL_HOST else 'console'}.EmailBackend"
)
EMAIL_PORT = _number("FARTHING_EMAIL_PORT", 587)
EMAIL_HOST_USER = os.environ.get("FARTHING_EMAIL_USER", "")
EMAIL_HOST_PASSWORD = os.environ.get("FARTHING_EMAIL_PASSWORD", "")
EMAIL_USE_SSL = _flag("FARTHING_EMAIL_SSL", EMAIL_PORT == 465)
EMAIL_USE_TLS = _flag("FARTHING_EMAIL_STARTTLS", EMAIL_PORT == 587)
EMAIL_TIMEOUT = 10  # seconds
DEFAULT_FROM_EMAIL = os.environ.get("FARTHING_EMAIL_FROM", "Farthing <billing@localhost>")

# --- the browser's rules ---------------------------------------------------------------------------------

CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'none'"],
        "script-src": ["'self'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "font-src": ["'self'"],
        "connect-src": ["'self'"],
        "form-action": ["'self'"],
        "base-uri": ["'none'"],
        "object-src": ["'none'"],
        "frame-ancestors": ["'none'"],
    }
}
CSRF_FAILURE_VIEW = "ui.views.csrf_failure"
X_FRAME_OPTIONS = "DENY"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SECURE_HSTS_SECONDS = 31_536_000 if SECURE else 0
BEHIND_PROXY = _flag("FARTHING_BEHIND_PROXY", False)
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if BEHIND_PROXY else None
ALLAUTH_TRUSTED_PROXY_COUNT = int(BEHIND_PROXY)  # whose X-Forwarded-For says which address signs in

# --- time, language, files -------------------------------------------------------------------------------

TIME_ZONE = "UTC"
USE_TZ = True
LANGUAGE_CODE = "en"
USE_I18N = False
STATIC_URL = "/static/"
STATIC_ROOT = Path(os.environ.get("FARTHING_STATIC_ROOT") or DATA_DIR / "static")
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {
        "BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"
        if TESTING or DEBUG
        else "whitenoise.storage.CompressedManifestStaticFilesStorage"
    },
}

# --- the public API --------------------------------------------------------------------------------------

BODY_BYTES_MAX = 256 * 1024
BATCH_BODY_BYTES_MAX = 1024 * 1024
DATA_UPLOAD_MAX_MEMORY_SIZE = BATCH_BODY_BYTES_MAX
# Requests a second, averaged over ten, that one key and all keys of one merchant may send besides the fast lane's; 0
# is no limit.
RATE_PER_KEY = _number("FARTHING_RATE_PER_KEY", 100)
RATE_PER_MERCHANT = _number("FARTHING_RATE_PER_MERCHANT", 200)
# Payments and payment sessions that one address may start on pages in ten minutes; 0 is no limit.
PAYMENT_STARTS = _number("FARTHING_PAYMENT_STARTS", 30)
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["merchants.authentication.ApiKeyAuthentication"],
    "DEFAULT_PERMISSION_CLASSES": ["merchants.authentication.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["merchants.authentication.KeyThrottle"],
    "DEFAULT_PARSER_CLASSES": ["merchants.parsing.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "config.api_schema.Schema",
    "EXCEPTION_HANDLER": "config.errors.handle",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Farthing API",
    "VERSION": "v0",
    "OAS_VERSION": "3.1.0",
    "SERVE_PUBLIC": True,
    "SERVE_AUTHENTICATION": [],
    "SERVE_INCLUDE_SCHEMA": False,
    "PREPROCESSING_HOOKS": ["config.openapi.with_lane"],
    "POSTPROCESSING_HOOKS": ["config.openapi.finish"],
    "SCHEMA_PATH_PREFIX": "/v[0-9]",
    "SORT_OPERATIONS": False,
    "ENUM_GENERATE_CHOICE_DESCRIPTION": False,
    "COMPONENT_SPLIT_PATCH": False,
    # With two hundred operations and their schemas open at once, the page takes half a minute to appear.
    "SWAGGER_UI_SETTINGS": {
        "persistAuthorization": False,
        "deepLinking": True,
        "docExpansion": "none",
        "defaultModelsExpandDepth": -1,
        "filter": True,
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
    "REDOC_DIST": "SIDECAR",
}

# --- charging --------------------------------------------------------------------------------------------

LANE_WORKERS = _number("FARTHING_LANE_WORKERS", 2)  # transactions in flight at once in one web process
LANE_BUCKET_GROUPS = _number("FARTHING_LANE_BUCKET_GROUPS", 1)  # transactions a batch is split into; 256 on a cluster
LANE_QUEUE_MAX = _number("FARTHING_LANE_QUEUE_MAX", 4_096)  # requests waiting for a transaction before 429
RESERVATION_TTL_SECONDS = _number("FARTHING_RESERVATION_TTL", 900)
RESERVATION_TTL_SECONDS_MAX = 7 * 24 * 3600
# Who says at which rates customers are taxed, where the merchant does not: see billing/tax_engines.py.
TAX_ENGINE = os.environ.get("FARTHING_TAX_ENGINE", "billing.tax_engines.BuiltIn")
INVOICE_GRACE_SECONDS = _number("FARTHING_INVOICE_GRACE", 3600)
REGIONS = _words("FARTHING_REGIONS", "us-west1 europe-west1 asia-south1")

# --- what goes out ---------------------------------------------------------------------------------------

# Private networks, as CIDRs, that merchants in test mode may have webhooks sent to; for development. Live ones never.
OUTBOUND_ALLOW = [ipaddress.ip_network(word) for word in _words("FARTHING_OUTBOUND_ALLOW", "")]
WEBHOOKS_AT_ONCE = _number("FARTHING_WEBHOOKS_AT_ONCE", 64)  # in one process

# --- payments --------------------------------------------------------------------------------------------

STRIPE_API_URL = os.environ.get("FARTHING_STRIPE_API_URL", "")  # where Stripe answers, if not at its own address

# --- what is logged and measured -------------------------------------------------------------------------

METRICS_TOKEN = os.environ.get("FARTHING_METRICS_TOKEN", "")  # without it /metrics answers this machine alone
LOG_LEVEL = os.environ.get("FARTHING_LOG_LEVEL", "INFO")
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "filters": {"request_id": {"()": "config.logs.RequestIdFilter"}},
    "formatters": {
        "json": {
            "()": "config.logs.RedactingJsonFormatter",
            "format": "%(asctime)s %(levelname)s %(name)s %(message)s %(request_id)s",
            "rename_fields": {"asctime": "time", "levelname": "level", "name": "logger"},
        }
    },
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "json", "filters": ["request_id"]},
    },
    "root": {"handlers": ["stderr"], "level": LOG_LEVEL},
}
