"""Settings for the tests: the product's, with nothing slow and nothing that leaves the machine."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile

if "RECOURSE_VAR" not in os.environ:
    # xdist's workers inherit the variable: only the process that made the directory removes it.
    os.environ["RECOURSE_VAR"] = tempfile.mkdtemp(prefix="recourse-tests-")
    atexit.register(shutil.rmtree, os.environ["RECOURSE_VAR"], ignore_errors=True)

from governance.settings import *  # noqa: F403 - the environment must be set first
from governance.settings import DATABASES, VAR

DEMO_CLOCK = False  # tests own their clock
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
EMAIL_BACKEND = "django.core.mail.backends.locmem.EmailBackend"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}

if DATABASES["default"]["ENGINE"].endswith("sqlite3"):
    # A file, as in production: threads on one in-memory database share its locks, and races then
    # show what no deployment does. pytest-django adds the name of its xdist worker.
    DATABASES["default"]["TEST"] = {"NAME": str(VAR / "test.sqlite3")}
    # Nothing of a test survives a power cut, or needs to.
    _options = DATABASES["default"]["OPTIONS"]
    _options["init_command"] = _options["init_command"].replace(
        "synchronous=FULL", "synchronous=OFF"
    )
else:
    # Runs on one server at the same time, each in a database of its own.
    DATABASES["default"]["TEST"] = {"NAME": f"test_{VAR.name}"}
    # Most tests are one transaction, and some compute for long on a busy machine.
    DATABASES["default"]["OPTIONS"]["options"] += " -c idle_in_transaction_session_timeout=300s"
WHITENOISE_AUTOREFRESH = True  # no `staticfiles/` is collected for tests
WHITENOISE_USE_FINDERS = True
