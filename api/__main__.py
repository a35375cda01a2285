"""`python -m api`: serve the REST API."""

import logging
import os
import sys

import uvicorn

from api.app import create_app
from settings import ApiSettings, SettingsError


def main() -> int:
    try:
        settings = ApiSettings.from_environ(os.environ)
    except SettingsError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the one line that says why nothing starts
        return 2
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
