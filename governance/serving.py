"""How gunicorn writes its own lines: as the rest of the product does."""

from __future__ import annotations

from typing import Any

from gunicorn.glogging import Logger

from governance import env, logs


class OurLines(Logger):  # type: ignore[misc] # gunicorn is not typed
    """Its `--logger-class`. gunicorn starts before Django does, so this reads the environment itself."""

    def setup(self, cfg: Any) -> None:
        super().setup(cfg)
        for handler in self.error_log.handlers:
            handler.setFormatter(logs.formatter(env.log_format()))
