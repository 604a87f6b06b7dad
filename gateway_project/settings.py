"""All settings, from the environment. Every variable is listed in `.env.example`; a bad value stops the start by name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import environ

from catalog.limits import amount, problems_of_environment
from gateway_project import otlp, rules, secret_key
from gateway_project.variables import Variables

BASE_DIR = Path(__file__).resolve().parent.parent
env = environ.FileAwareEnv()
env.prefix = ""
environ.Env.read_env(BASE_DIR / ".env")


variables = Variables(env)
flag, positive, choice = variables.flag, variables.positive, variables.choice

DEBUG = flag("DEBUG", False)
VAR_DIR = variables.folder("VAR_DIR", BASE_DIR / "var")
SECRET_KEY = secret_key.read(variables, VAR_DIR)
SECRET_KEY_IS_GENERATED = not variables.is_given("SECRET_KEY")
ALLOWED_HOSTS = variables.words("ALLOWED_HOSTS", rules.host, ["*"])
CSRF_TRUSTED_ORIGINS = variables.words("CSRF_TRUSTED_ORIGINS", rules.origin)
PORT = int(positive("PORT", 8080, most=65535))

# Behind a proxy that speaks TLS: uvicorn takes the scheme from it (FORWARDED_ALLOW_IPS), never from strangers' headers.
HTTPS_ONLY = flag("HTTPS_ONLY", False)
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS_ONLY
SECURE_HSTS_SECONDS = 30 * 24 * 3600 if HTTPS_ONLY else 0
SECURE_REFERRER_POLICY = "same-origin"
# gateway.W006 says it in our words (W004, W012, W016); the proxy redirects (W008); subdomains are not ours to decide (W005, W021).
SILENCED_SYSTEM_CHECKS = [f"security.W{number}" for number in ("004", "005", "008", "012", "016", "021")]
LOGIN_REDIRECT_URL = "admin:index"
X_FRAME_OPTIONS = "DENY"

INSTALLED_APPS = [
    "gateway_project",
    "gateway_project.console.apps.ConsoleConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django_prometheus",
    "ninja",
    "catalog",
    "routingapp",
    "accounting",
    "completions",
]

MIDDLEWARE = [
    "django_prometheus.middleware.PrometheusBeforeMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "gateway_project.middleware.AccountPages",
    "gateway_project.content_policy.content_policy",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_prometheus.middleware.PrometheusAfterMiddleware",
]

ROOT_URLCONF = "gateway_project.urls"
ASGI_APPLICATION = "gateway_project.asgi.application"
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
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
            ],
        },
    },
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": f"django.contrib.auth.password_validation.{name}"}
    for name in ("UserAttributeSimilarityValidator", "MinimumLengthValidator", "CommonPasswordValidator")
]
STATIC_URL = "/static/"
# Admin's own files straight from the packages: no collectstatic, nothing to forget when upgrading.
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = False
USE_TZ = True
TIME_ZONE = "UTC"
LANGUAGE_CODE = "en-us"

# --- The database: one for catalogue, keys and request logs -----------------------------------------------------------

USE_SQLITE_LOG = flag("USE_SQLITE_LOG", True)
SQLITE_PATH = Path(
    variables.text("SQLITE_DB_PATH") or variables.text("OPENROUTER_SQLITE_DB") or VAR_DIR / "db" / "openrouter_logs.db"
).expanduser()


def _sqlite() -> dict[str, Any]:
    return {
        "ENGINE": "gateway_project.counted_sqlite",
        "NAME": str(SQLITE_PATH),
        "OPTIONS": {
            # One writer at a time, readers never blocked, and a writer that waits instead of failing. Of the file, 512 KiB for each
            # connection instead of 2 MB: every page of admin opens one, and three dashboards at once left 5 MB behind, now 1.
            "init_command": (
                "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL; PRAGMA busy_timeout=10000; PRAGMA cache_size=-512;"
            ),
            "transaction_mode": "IMMEDIATE",
            "timeout": 10,
        },
    }


def _postgresql() -> dict[str, Any]:
    if not variables.text("DATABASE_URL"):
        example = "DATABASE_URL=postgres://gateway:secret@localhost/gateway"
        return variables.refuse(f"USE_SQLITE_LOG=false needs DATABASE_URL, e.g. {example}", {})
    try:
        database = env.db_url("DATABASE_URL")
    except ValueError as error:
        return variables.refuse(f"DATABASE_URL cannot be read: {error}; quote what a URL cannot hold", {})
    if not database.get("ENGINE", "").endswith("postgresql"):
        return variables.refuse("DATABASE_URL must start with postgres://; for SQLite leave USE_SQLITE_LOG unset", {})
    counted = "django_prometheus.db.backends.postgresql"
    return {**database, "ENGINE": counted, "CONN_MAX_AGE": 60, "CONN_HEALTH_CHECKS": True}


if USE_SQLITE_LOG:
    try:
        SQLITE_PATH.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        variables.refuse(
            f"The folder of {SQLITE_PATH} cannot be made: {error}; set VAR_DIR or SQLITE_DB_PATH to another", None
        )
DATABASE_URL_IS_IGNORED = USE_SQLITE_LOG and bool(variables.text("DATABASE_URL"))
DATABASES = {"default": _sqlite() if USE_SQLITE_LOG else _postgresql()}

if not USE_SQLITE_LOG and SECRET_KEY_IS_GENERATED:
    example = "python -c 'import secrets; print(secrets.token_urlsafe(48))'"
    variables.refuse(
        f"USE_SQLITE_LOG=false needs SECRET_KEY: whoever shares the database must share it, or keys of one process are unknown to "
        f"the next; make one with {example}",
        None,
    )

# --- The gateway ------------------------------------------------------------------------------------------------------


MODELS_CONFIG = variables.file("MODELS_CONFIG", BASE_DIR / "catalog" / "models.yaml")
ROUTING_CONFIG = variables.file("ROUTING_CONFIG", BASE_DIR / "routing.yaml")
for name in ("LOCAL_BASE_URL", "EMBEDDED_BASE_URL", "LLAMA_BASE_URL"):  # models.yaml and the embedded worker read them
    variables.address(name, rules.base_url)
OFFLOAD = flag("OFFLOAD", False)
EMBEDDED_WORKER = flag("EMBEDDED_WORKER", True)
REQUIRE_API_KEY = flag("REQUIRE_API_KEY", False)
RATE_LIMIT_ENABLED = flag("RATE_LIMIT_ENABLED", True)


ANONYMOUS_RPM_LIMIT = variables.limit("ANONYMOUS_RPM_LIMIT", amount)
ANONYMOUS_TPM_LIMIT = variables.limit("ANONYMOUS_TPM_LIMIT", amount)
FAILED_AUTH_LIMIT = int(positive("FAILED_AUTH_LIMIT", 30))
for problem in problems_of_environment(os.environ):
    variables.refuse(problem, None)
UNPRICED = choice("UNPRICED", "warn", ("warn", "allow", "block"))
MAX_BODY_MB = positive("MAX_BODY_MB", 32, float)
HEAD_TIMEOUT_S = positive("HEAD_TIMEOUT_S", 15, float)
BODY_TIMEOUT_S = positive("BODY_TIMEOUT_S", 60, float)
SEND_TIMEOUT_S = positive("SEND_TIMEOUT_S", 60, float)
KEEPALIVE_S = positive("KEEPALIVE_S", 15, float)
SNAPSHOT_POLL_S = positive("SNAPSHOT_POLL_S", 0.3, float)
SHUTDOWN_GRACE_S = positive("SHUTDOWN_GRACE_S", 30, float)
JOURNAL_DIR = VAR_DIR / "journal"
JOURNAL_FSYNC = flag("JOURNAL_FSYNC", False)
LOG_CONTENT = choice("LOG_CONTENT", "none", ("none", "hash", "full"))
FORWARDED_ALLOW_IPS = ",".join(variables.words("FORWARDED_ALLOW_IPS", rules.proxy))
METRICS_TOKEN = variables.text("METRICS_TOKEN")
ALERT_WEBHOOK_URL = variables.text("ALERT_WEBHOOK_URL")
if ALERT_WEBHOOK_URL and not ALERT_WEBHOOK_URL.startswith(("https://", "http://")):
    variables.refuse("ALERT_WEBHOOK_URL must start with https:// (or http://); it is not shown here: it is a secret", None)
OTLP = otlp.read(variables)
REDIS_URL = variables.address("REDIS_URL", rules.redis_url, is_secret=True)
REDIS_PATIENCE_MS = positive("REDIS_PATIENCE_MS", 5, float)

# --- Logging ----------------------------------------------------------------------------------------------------------

LOG_FORMAT = choice("LOG_FORMAT", "console", ("console", "json"))
# Every request is a row already (`manage.py viewlogs --follow` shows them); a line as well costs CPU for each.
ACCESS_LOG = flag("ACCESS_LOG", False)
LOG_LEVEL = choice("LOG_LEVEL", "INFO", ("DEBUG", "INFO", "WARNING", "ERROR"))
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {
        "console": {"()": "gateway_project.logs.ConsoleFormatter"},
        "json": {"()": "gateway_project.logs.JsonFormatter"},
    },
    "filters": {"suspicions": {"()": "gateway_project.logs.Suspicions"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": LOG_FORMAT, "filters": ["suspicions"]}},
    "root": {"handlers": ["stderr"], "level": "WARNING"},
    "loggers": {
        "gateway": {"level": LOG_LEVEL},
        "gateway.access": {"level": "INFO" if ACCESS_LOG else "WARNING"},
        # Below INFO these print request headers, and with them the callers' keys.
        "django": {"level": "INFO", "handlers": ["stderr"], "propagate": False},
        "django.request": {"level": "ERROR"},
    },
}

variables.check()
