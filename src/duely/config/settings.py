"""All settings of Duely, read from the environment and `.env`. docs/reference/settings.md lists them."""

import os
from pathlib import Path
from urllib.parse import quote, urlsplit

import django

from duely.config import checks, database, email, env, logs, secret, service

_read = env.load(Path.cwd())

# Where it runs

DEBUG = _read.boolean("DEBUG", False)
HOST = _read.string("HOST", "127.0.0.1").strip("[]")
PORT = _read.integer("PORT", 8000, minimum=1, maximum=65535)
WEB_CONCURRENCY = _read.integer("WEB_CONCURRENCY", os.cpu_count() or 1, minimum=1, maximum=256)
WEB_THREADS = 32
# More than the cores could use, because a request that waits for a locked row keeps its slot (decision 0013).
WEB_AT_ONCE = 4
WORKER_THREADS = 4
DRAIN_SECONDS = _read.integer("DRAIN_SECONDS", service.drain_seconds(os.environ), minimum=0, maximum=300)
# A worker has two more threads, which take jobs and renew leases; a web process has one more, which reads bans.
_most_threads = max(WEB_AT_ONCE + 1, WORKER_THREADS + 2)
DATA_DIR = _read.path("DATA_DIR", Path("data"))

_host_in_url = f"[{HOST}]" if ":" in HOST else HOST
_public_url = _read.optional("PUBLIC_URL")
_allowed_hosts = _read.words("ALLOWED_HOSTS")
checks.refuse_unknown_address(host=HOST, public_url=_public_url, allowed=_allowed_hosts)
PUBLIC_URL = _read.origin("PUBLIC_URL", f"http://{'127.0.0.1' if HOST in checks.WILDCARDS else _host_in_url}:{PORT}")
_public_host = urlsplit(PUBLIC_URL).netloc.rpartition("@")[2].removesuffix(f":{urlsplit(PUBLIC_URL).port}")

ALLOWED_HOSTS = _allowed_hosts or list(
    dict.fromkeys(
        [
            *(checks.LOOPBACK_NAMES if checks.is_loopback(HOST) or HOST in checks.WILDCARDS else ()),
            *(() if HOST in checks.WILDCARDS else (_host_in_url,)),
            _public_host,
        ]
    )
)
TRUSTED_PROXIES = _read.networks("TRUSTED_PROXIES")
checks.refuse_wide_proxies(TRUSTED_PROXIES)

checks.refuse_public_debug(debug=DEBUG, host=HOST, public_host=_public_host)
checks.refuse_open_hosts(ALLOWED_HOSTS, debug=DEBUG)

# Secrets

_secret_key = _read.optional("SECRET_KEY")
SECRET_KEY_FALLBACKS = _read.words("SECRET_KEY_FALLBACKS")
checks.refuse_weak_keys(_secret_key, SECRET_KEY_FALLBACKS, debug=DEBUG)

# Limits

RATE_LIMITS = {
    "otp": _read.rate("RATE_LIMIT_OTP", "5/min"),
    "reset": _read.rate("RATE_LIMIT_OTP", "5/min"),
    "login": _read.rate("RATE_LIMIT_LOGIN", "10/min"),
    "anonymous": _read.rate("RATE_LIMIT_ANON", "10/min"),
    "user": _read.rate("RATE_LIMIT_USER", "50/min"),
}
# Paths that take more than 1 MiB, and how much: they read it from the connection, and from those who have signed in.
LARGE_BODIES = {"/api/v1/import/": 256 * 1024 * 1024}
CORS_ALLOWED_ORIGINS = _read.origins("CORS_ALLOWED_ORIGINS")
REDIS_URL = _read.url("REDIS_URL", schemes=("redis", "rediss", "unix"))
LIMIT_PUBLIC = "duely.accounts.auth.limit_public"
SHOWS_TOKEN = "duely.accounts.auth.shows_token"  # noqa: S105

# Database

_database_url = _read.string("DATABASE_URL", f"sqlite:///{quote(str(DATA_DIR / 'duely.sqlite3'))}")
DATABASES = {"default": database.from_url(_database_url, threads=_most_threads)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

# Mail

MAIL_SERVER = email.from_url(_read.string("EMAIL_URL", "console:"))
MAIL_DOMAIN = email.domain(_public_host)
DEFAULT_FROM_EMAIL = email.sender(_read.string("DEFAULT_FROM_EMAIL", f"Duely <duely@{MAIL_DOMAIN}>"))

# Accounts

AUTH_USER_MODEL = "accounts.User"
AUTHENTICATE = "duely.accounts.auth.authenticate"
AUTHENTICATION_BACKENDS = ["duely.accounts.backends.AdminBackend"]
# User names are unique by their folded form, in a column of its own.
SILENCED_SYSTEM_CHECKS = ["auth.W004"]
SIGNUP_ENABLED = _read.boolean("SIGNUP_ENABLED", True)
REQUIRE_EMAIL_VERIFICATION = _read.boolean("REQUIRE_EMAIL_VERIFICATION", False)
DEFAULT_ROLE = _read.choice("DEFAULT_ROLE", "member", allowed=("member", "intern"))
ADMIN_USERNAME = _read.optional("ADMIN_USERNAME")
ADMIN_EMAIL = _read.optional("ADMIN_EMAIL")
ADMIN_PASSWORD = _read.optional("ADMIN_PASSWORD")
OTP_MINUTES = _read.integer("OTP_MINUTES", 5, minimum=1, maximum=10)
ACCESS_TOKEN_MINUTES = _read.integer("ACCESS_TOKEN_MINUTES", 10, minimum=1, maximum=1440)
REFRESH_TOKEN_DAYS = _read.integer("REFRESH_TOKEN_DAYS", 7, minimum=1, maximum=90)
REFRESH_GRACE_SECONDS = _read.integer("REFRESH_GRACE_SECONDS", 30, minimum=0, maximum=300)

PASSWORD_HASHERS = ["duely.accounts.hashers.Argon2id"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator", "OPTIONS": {"min_length": 8}},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]

# Jobs

CELERY_BROKER_URL = _read.url("CELERY_BROKER_URL", schemes=("redis", "rediss", "sentinel", "amqp", "amqps"))
if django.VERSION >= (6, 0):
    TASKS = {"default": {"BACKEND": "duely.jobs.django_tasks.DuelyBackend"}}

# Parts

INSTALLED_APPS = [
    "duely.notifications",
    "duely.tasks",
    "duely.accounts",
    "duely.activity",
    "duely.mail",
    "duely.guard",
    "duely.jobs",
    "duely.api",
    "duely.web",
    "dmr",
    "duely.accounts.apps.AdminConfig",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
]
MIDDLEWARE = [
    "duely.http.pipeline.GuardMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]
ROOT_URLCONF = "duely.config.urls"
WSGI_APPLICATION = "duely.config.wsgi.application"
APPEND_SLASH = False
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
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

# Static files are served from the packages, so that no collectstatic step is needed.
STATIC_URL = "/static/"
WHITENOISE_USE_FINDERS = True
WHITENOISE_AUTOREFRESH = DEBUG
WHITENOISE_ALLOW_ALL_ORIGINS = False
WHITENOISE_MAX_AGE = 0 if DEBUG else 3600

# Time and language

USE_TZ = True
TIME_ZONE = "UTC"
# Only for dates in mails. Without LocaleMiddleware every answer is in English.
USE_I18N = True
LANGUAGE_CODE = "en-us"

# Browser security: for the admin and the pages; the API uses neither cookies nor sessions

_https = PUBLIC_URL.startswith("https://")
SESSION_ENGINE = "duely.accounts.page_sessions"
SESSION_COOKIE_NAME = "duely_session"
SESSION_COOKIE_SECURE = _https
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 12 * 60 * 60
SESSION_EXPIRE_AT_BROWSER_CLOSE = True
CSRF_COOKIE_NAME = "duely_csrf"
CSRF_COOKIE_SECURE = _https
CSRF_COOKIE_SAMESITE = "Lax"
CSRF_TRUSTED_ORIGINS = [PUBLIC_URL]
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"

# Logs

LOG_LEVEL = _read.choice("LOG_LEVEL", "INFO", allowed=logs.LEVELS)
LOG_FORMAT = _read.choice("LOG_FORMAT", "auto", allowed=logs.FORMATS)
LOGGING = logs.configure(LOG_LEVEL, LOG_FORMAT)

MISSPELT_SETTINGS = _read.misspelt()

# Last, so that a refused setting does not leave a key file behind
SECRET_KEY_PATH = None if _secret_key else DATA_DIR / secret.FILE_NAME
SECRET_KEY = _secret_key or secret.load_or_make(DATA_DIR)
if SECRET_KEY_PATH is not None:
    checks.refuse_weak_key_file(SECRET_KEY, SECRET_KEY_PATH, debug=DEBUG)

checks.register_advice()
