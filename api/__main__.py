"""`python -m api`: serve the REST API."""

import asyncio
import os
import sys

import uvicorn

from api.app import create_app
from db.safety import UnsafeDatabase, check_safety
from logs import log_to_stderr
from settings import ApiSettings, Profile, SettingsError


def main() -> int:
    try:
        settings = ApiSettings.from_environ(os.environ)
        asyncio.run(check_safety(settings.database_url, durable=settings.profile is Profile.PRODUCTION))
    except (SettingsError, UnsafeDatabase) as error:
        print(error, file=sys.stderr)  # noqa: T201 - the one line that says why nothing starts
        return 2
    log_to_stderr()
    uvicorn.run(
        create_app(settings),
        host=settings.host,
        port=settings.port,
        access_log=False,
        log_config=None,
        server_header=False,
        # What somebody says of where they come from counts from a named proxy alone, not from this machine either.
        proxy_headers=settings.trusted_proxies is not None,
        forwarded_allow_ips=settings.trusted_proxies or "",
        ssl_certfile=None if settings.tls_files is None else settings.tls_files[0],
        ssl_keyfile=None if settings.tls_files is None else settings.tls_files[1],
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
