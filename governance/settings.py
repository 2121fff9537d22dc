"""Django settings. The environment is read in `governance.env`, and only here."""

from __future__ import annotations

import base64
import hashlib
from datetime import timedelta
from pathlib import Path
from typing import Any

from csp.constants import NONE, SELF

from governance.env import (
    ROOT,
    env,
    local_secret,
    log_format,
    profile,
    required,
    retired_seal_keys,
    sandboxes,
    seal_file,
    seal_key,
    secret,
    targets,
)

BASE_DIR = ROOT
DEMO = profile() == "demo"
VAR = Path(env.str("RECOURSE_VAR", default=str(ROOT / "var")))  # everything the product writes

# --- Who answers, and to whom -----------------------------------------------------------------
DEBUG = False
if DEMO:
    SECRET_KEY = env.str("SECRET_KEY", default="") or local_secret(VAR / "secret_key")
    ALLOWED_HOSTS = ["localhost", "127.0.0.1", "[::1]"]
    SITE_URL = env.str("SITE_URL", default="http://127.0.0.1:8000")
else:
    SECRET_KEY = required("SECRET_KEY", why="Sessions and worker tasks are signed with it.")
    SITE_URL = required(
        "SITE_URL", why="Mails and webhooks link to it: https://recourse.example.com"
    )
    ALLOWED_HOSTS = env.list(
        "ALLOWED_HOSTS", default=[SITE_URL.split("//", 1)[-1].split("/")[0].split(":")[0]]
    )
SECRET_KEY_FALLBACKS = env.list("SECRET_KEY_FALLBACKS", default=[])  # earlier ones, still read
SITE_URL = SITE_URL.rstrip("/")
CSRF_TRUSTED_ORIGINS = [SITE_URL]
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = not DEMO
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 60 * 60  # a working day
SECURE_SSL_REDIRECT = not DEMO and env.bool("SECURE_SSL_REDIRECT", default=True)
SECURE_HSTS_SECONDS = 0 if DEMO else 365 * 24 * 60 * 60
SECURE_HSTS_INCLUDE_SUBDOMAINS = not DEMO
# W021: the browsers' preload list is the domain owner's choice.
SILENCED_SYSTEM_CHECKS = ["security.W021"]
SECURE_REDIRECT_EXEMPT = [r"^healthz$", r"^readyz$"]  # probes come from inside, over plain HTTP
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
if env.bool("BEHIND_TLS_PROXY", default=False):
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": [SELF],
        "script-src": [SELF],
        "style-src": [SELF],
        "img-src": [SELF, "data:"],  # Bootstrap draws its form marks as data: SVGs
        "object-src": [NONE],
        "base-uri": [NONE],
        "frame-ancestors": [NONE],
        "form-action": [SELF],
    }
}
PERMISSIONS_POLICY: dict[str, list[str]] = {
    "camera": [], "geolocation": [], "microphone": [], "payment": [], "usb": [],
    "publickey-credentials-get": ["self"],
}  # fmt: skip

# --- The parts --------------------------------------------------------------------------------
INSTALLED_APPS = [
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "allauth",
    "allauth.account",
    "allauth.mfa",
    "axes",
    "csp",
    "django_htmx",
    "django_q",
    "drf_spectacular",
    "rest_framework",
    "template_partials",
    "governance",
    "approvals",
    "rollback",
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "governance.middleware.Told",
    "governance.middleware.kept_by_nobody",
    "csp.middleware.CSPMiddleware",
    "django_permissions_policy.PermissionsPolicyMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "governance.middleware.LogInRequired",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "allauth.account.middleware.AccountMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
    "axes.middleware.AxesMiddleware",
    "governance.middleware.NoNul",
]
ROOT_URLCONF = "governance.urls"
ASGI_APPLICATION = "governance.asgi.application"
WSGI_APPLICATION = "governance.wsgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
                "governance.context.frame",
            ],
            "builtins": [
                "template_partials.templatetags.partials",
                "governance.templatetags.recourse",
            ],
        },
    }
]

# --- Where it is kept -------------------------------------------------------------------------
DATABASES: dict[str, dict[str, Any]] = {
    "default": env.db_url("DATABASE_URL", default=f"sqlite:///{VAR / 'recourse.sqlite3'}")
}
if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    VAR.mkdir(parents=True, exist_ok=True)
    DATABASES["default"]["OPTIONS"] = {
        "timeout": 20,
        "transaction_mode": "IMMEDIATE",  # a read that turns into a write must not lose its snapshot
        # FULL: an acknowledged decision survives a power cut. recursive_triggers: without it
        # INSERT OR REPLACE slips past the ledger's triggers.
        "init_command": (
            "PRAGMA journal_mode=WAL;PRAGMA synchronous=FULL;"
            "PRAGMA busy_timeout=20000;PRAGMA recursive_triggers=ON;"
        ),
    }
else:
    DATABASES["default"]["CONN_MAX_AGE"] = 60
    DATABASES["default"]["CONN_HEALTH_CHECKS"] = True  # a database that came back is used again
    _given = DATABASES["default"].get("OPTIONS", {})
    # A machine that vanished in a transaction lets go of its rows, before whoever waits for one gives up.
    _limits = "-c idle_in_transaction_session_timeout=15s -c lock_timeout=20s"
    DATABASES["default"]["OPTIONS"] = {
        "connect_timeout": 5,
        "keepalives_idle": 15,
        "keepalives_interval": 5,
        "keepalives_count": 3,
        "tcp_user_timeout": 30_000,  # ms
    } | _given
    DATABASES["default"]["OPTIONS"]["options"] = f"{_limits} {_given.get('options', '')}".strip()
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
CACHES = {"default": {"BACKEND": "django.core.cache.backends.locmem.LocMemCache"}}

# --- Log-in -----------------------------------------------------------------------------------
AUTH_USER_MODEL = "governance.Person"
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",
    "django.contrib.auth.backends.ModelBackend",
    "allauth.account.auth_backends.AuthenticationBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "account_login"
LOGIN_REDIRECT_URL = "/inbox/"
ACCOUNT_LOGIN_METHODS = {"username", "email"}
ACCOUNT_SIGNUP_FIELDS = ["username*", "email*", "password1*", "password2*"]
ACCOUNT_EMAIL_VERIFICATION = "none"  # people are entered by an administrator, never by themselves
ACCOUNT_ADAPTER = "governance.accounts.AccountAdapter"
ACCOUNT_LOGOUT_ON_GET = False
ACCOUNT_SESSION_REMEMBER = None
ACCOUNT_PREVENT_ENUMERATION = True
MFA_ADAPTER = "governance.second_factor.MFAAdapter"
MFA_FORMS = {
    "authenticate": "governance.second_factor.SignInForm",
    "reauthenticate": "governance.second_factor.AgainForm",
}
MFA_TOTP_ISSUER = "Recourse"
MFA_TOTP_TOLERANCE = 1  # a code is taken half a minute early and late: phones drift
# One password opens every account of the demo, and a code is asked for only where it is the point.
SIGN_IN_ASKS_FOR_CODE = not DEMO
AXES_FAILURE_LIMIT = 5
AXES_COOLOFF_TIME = timedelta(minutes=15)
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_LOCKOUT_CALLABLE = "governance.accounts.locked_out"
AXES_USERNAME_FORM_FIELD = "login"
AXES_SENSITIVE_PARAMETERS = ["username", "ip_address", "code"]  # kept with no attempt
AXES_IPWARE_PROXY_COUNT = env.int("TRUSTED_PROXIES", default=0)

# --- Agents and pages -------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "approvals.api.authentication.AgentAuthentication",
        "approvals.api.authentication.PersonalTokenAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["approvals.api.permissions.Nobody"],  # each view says who may
    "DEFAULT_PARSER_CLASSES": ["approvals.api.parsers.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "EXCEPTION_HANDLER": "approvals.api.problems.handle",
    "TEST_REQUEST_DEFAULT_FORMAT": "json",
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Recourse",
    "DESCRIPTION": "Agents ask leave to write; people decide; nothing stalls.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "ENUM_NAME_OVERRIDES": {
        "RequestState": "approvals.models.ActionRequest.State",
        "StepState": "approvals.models.Step.State",
        "UnitSaid": "approvals.models.Claim.Said",
        "OrderOutcome": "approvals.models.Order.Outcome",
        "Grade": "governance.vocabulary.Severity",  # and of impact: low, medium, high
    },
    "SERVE_INCLUDE_SCHEMA": False,
    "SERVE_PERMISSIONS": ["rest_framework.permissions.AllowAny"],  # the contract is no secret
}
REQUEST_BODY_LIMIT = 256 * 1024  # bytes
DATA_UPLOAD_MAX_MEMORY_SIZE = REQUEST_BODY_LIMIT
FILE_UPLOAD_HANDLERS = ["governance.uploads.KeptInMemory"]  # bounded, and never on disk

# --- Static files -----------------------------------------------------------------------------
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
STATIC_ROOT = Path(env.str("STATIC_ROOT", default=str(BASE_DIR / "staticfiles")))
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "whitenoise.storage.CompressedManifestStaticFilesStorage"},
}

# --- Clocks, courier, notices -----------------------------------------------------------------
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"
USE_I18N = False
DEMO_CLOCK = DEMO  # `governance.clock` reads the DemoClock row only where this is true
# What the clock drives, in this order, each `(now) -> count`. Reached by name, so that the
# packages below never import the packages above.
RECOURSE_SWEEPS = [
    "approvals.sweeps.climb_due_steps",
    "approvals.sweeps.pass_over_absent",
    "rollback.sweeps.call_the_worker",
    "approvals.sweeps.end_holds",
    "approvals.sweeps.climb_blocked",
    "approvals.sweeps.block_what_was_reported",
    "approvals.sweeps.end_lapsed_approvals",
    "approvals.sweeps.trouble_overdue_runs",
    "approvals.sweeps.climb_underway",
    "approvals.sweeps.ask_about_overdue_undos",
    "rollback.sweeps.take_up_orders",
    "rollback.sweeps.lapse_recoveries",
    "rollback.sweeps.close_what_ended",
    "rollback.sweeps.let_go_of_the_silent",
    "rollback.drill_sweeps.keep_drills",
    "approvals.sweeps.ping_again",
    "approvals.order_sweeps.lapse_orders",
    "approvals.review_sweeps.remind_reviewers",
    "approvals.review_sweeps.climb_overdue_reviews",
    "governance.sweeps.lapse_changes",
    "governance.sweeps.lapse_action_changes",
    "approvals.sweeps.tell_of_alerts",
    "approvals.courier.call_the_courier",
    "governance.seals.call_for_seal",
    "governance.metrics.keeping.call_for_metrics",
    "approvals.auditing.call_for_audit",
    "governance.policy_watch.call_for_policy_check",
    "governance.verifications.call_for_verification",
]
RECOURSE_RUNS = "rollback.shapes.runs_of"  # (request) -> its runs and their units, for the API
# (request, *, done, reference, now) -> [{"n", "was", "is"}], for what people settled by hand
RECOURSE_SETTLE = "rollback.services.settle.settle_units"
RECOURSE_AUDITS = [  # name -> `governance.audits.Look`
    "governance.audits.AUDITS",
    "approvals.audits.AUDITS",
    "rollback.audits.AUDITS",
]
# Likewise; these ask targets, so the clock never runs them.
RECOURSE_AUDITS_OUTSIDE = ["rollback.audits.OUTSIDE"]
RECOURSE_FRAME = "approvals.selectors.frame_for"  # (person, now) -> what stands around every page
RECOURSE_CHAIN_HEADS = ["approvals.selectors.chain_heads"]  # () -> (chain, length, last hash)
# (chains) -> [(chain, length, number of its last event)], each of one instant, of those it has
RECOURSE_HEADS_OF = ["approvals.selectors.heads_of"]
RECOURSE_NEXT_DUE = (
    "approvals.selectors.next_due_at"  # (now) -> when a sweep has work next, or None
)
RECOURSE_ALARM = "approvals.services.alerts.raise_alert"  # (*, kind, key, text, now)
RECOURSE_TELL = "approvals.notifying.tell"  # (persons, *, text, page, now), about no request
RECOURSE_ALL_CLEAR = "approvals.services.alerts.close_alert"  # (*, kind, key, now)
RECOURSE_OPEN_FINDINGS = (
    "approvals.selectors.open_findings"  # () -> how many silent failures are open
)
# () -> by policy version, the matrix rows that route its open requests: primary keys
RECOURSE_ROWS_IN_USE = "approvals.selectors.rows_in_use"
# (since, until) -> what was submitted in between, oldest first, as `governance.simulation.Past`
RECOURSE_PAST_REQUESTS = "approvals.selectors.past_requests"
RECOURSE_DEBTORS = (
    "approvals.services.gather.in_debt"  # (now) -> who has an overdue review: primary keys
)
# (departments, heads) -> by department, who may order a rollback; and whether two may sign it
RECOURSE_ORDERERS = "approvals.undoing.orderers_in"
RECOURSE_SIGNED_BY_TWO = "approvals.undoing.signed_by_two"
# (evidence.Subject) -> the parts of its evidence pack, in the order of its page
RECOURSE_EVIDENCE = ["approvals.pack_parts.parts", "rollback.pack_parts.parts"]
# (now) -> what is watched from outside, each a `governance.prometheus.Gauge`
RECOURSE_GAUGES = ["governance.prometheus.own", "approvals.gauges.gauges"]
RECOURSE_SEEDS = [
    "approvals.demo.seed_requests"
]  # (*, now) -> count, for `seed_demo --with-requests`
Q_CLUSTER = {
    "name": "recourse",
    "orm": "default",
    "broker_class": "governance.addressed.Addressed",
    "workers": env.int("WORKER_PROCESSES", default=3),
    "timeout": 60,
    "retry": 120,
    "max_attempts": 3,
    "ack_failures": False,
    "catch_up": False,
    "bulk": 1,
    "poll": 1,
    "save_limit": 10000,
    "label": "Worker",
}
if DEMO:
    EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    EMAIL_FILE_PATH = VAR / "mail"
    DEFAULT_FROM_EMAIL = "Recourse <recourse@example.com>"
else:
    DEFAULT_FROM_EMAIL = required("MAIL_FROM", why="Notices are sent in its name.")
    _mail = env.email_url("EMAIL_URL", default="smtp://localhost:25")
    EMAIL_BACKEND = _mail["EMAIL_BACKEND"]
    EMAIL_HOST, EMAIL_PORT = _mail["EMAIL_HOST"], _mail["EMAIL_PORT"]
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = _mail["EMAIL_HOST_USER"], _mail["EMAIL_HOST_PASSWORD"]
    EMAIL_USE_TLS = bool(_mail.get("EMAIL_USE_TLS"))
    EMAIL_USE_SSL = bool(_mail.get("EMAIL_USE_SSL"))
EMAIL_TIMEOUT = 10
APPRISE_SCHEMES = env.list(
    "APPRISE_SCHEMES",
    default=["slack", "msteams", "workflows", "pagerduty", "opsgenie", "json", "jsons"],
)
CALLBACKS_MAY_BE_PRIVATE = DEMO  # a webhook to 10.0.0.5 is a hole in production and a test bed here
# Where the systems of record are, and what opens them: {key: {"url", "token", …}}.
_targets = env.list("RECOURSE_TARGETS", default=["demo"] if DEMO else [])
TARGETS = targets(_targets)
SANDBOXES = sandboxes(_targets)  # likewise, where undoing is rehearsed; never a target itself
WEBHOOK_KEY = (
    env.str("WEBHOOK_KEY", default="")
    or hashlib.sha256(b"webhook:" + SECRET_KEY.encode()).hexdigest()
)
# Ed25519 seed, 32 bytes in base64. Keep it where the database's owner cannot read it.
if DEMO:
    SEAL_KEY = base64.b64encode(
        hashlib.sha256(local_secret(VAR / "seal_key").encode()).digest()
    ).decode()
else:
    SEAL_KEY = seal_key()
SEAL_RETIRED_KEYS = retired_seal_keys()  # earlier public keys, in base64
SEAL_EXPORT = seal_file(VAR)  # in a folder outside the database
METRICS_TOKEN = secret("METRICS_TOKEN")  # opens /metrics/prometheus; blank: closed
HEARTBEAT_URL = env.str("HEARTBEAT_URL", default="")  # told after every clean audit, and only then

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "governance.logs.formatter", "form": log_format()}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "line"}},
    "root": {"handlers": ["stderr"], "level": env.str("LOG_LEVEL", default="WARNING")},
    "loggers": {
        "recourse": {"level": "INFO"},
        # It tells each address that is called, and some of them open something: HEARTBEAT_URL does.
        "httpx2": {"level": "WARNING"},
    },
}
