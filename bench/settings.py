"""The product's settings, and beside them the view it is measured against."""

from __future__ import annotations

from governance.settings import *  # noqa: F403 - the benchmark serves the product as it is
from governance.settings import STORAGES

ROOT_URLCONF = "bench.urls"
# Pages name their style sheets and scripts, and nobody here fetches them.
STORAGES = {
    **STORAGES,
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
