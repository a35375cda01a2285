"""TLS to PostgreSQL, as far as the driver goes before the server speaks: the embedded build of it has none."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from sqlalchemy.exc import DBAPIError

from db.engine import make_engine
from settings import PipelineSettings
from tests.certificates import make_certificate

SSL_REQUEST_BYTES = 8


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of localhost, signed by itself; its key is in the same file."""
    return make_certificate(tmp_path_factory.mktemp("tls"))


@asynccontextmanager
async def server_that_hangs_up(certificate: Path, heard: list[bytes]) -> AsyncIterator[int]:
    """Takes the first message over TLS, and closes; yields its port."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)

    async def meet(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readexactly(SSL_REQUEST_BYTES)
        writer.write(b"S")
        try:
            await writer.start_tls(context)
            heard.append(await reader.read(1024))
        except (ssl.SSLError, ConnectionError):
            heard.append(b"")
        finally:
            writer.close()

    server = await asyncio.start_server(meet, "localhost", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


@pytest.mark.parametrize(
    ("authority", "speaks", "ends_in"),
    [("its own", True, DBAPIError), ("unknown", False, ssl.SSLCertVerificationError)],
)
async def test_the_client_speaks_to_no_server_that_its_authority_does_not_vouch_for(
    authority: str, ends_in: type[Exception], certificate: Path, monkeypatch: pytest.MonkeyPatch, *, speaks: bool
) -> None:
    known = certificate if authority == "its own" else Path(ssl.get_default_verify_paths().openssl_cafile)
    monkeypatch.setenv("PGSSLROOTCERT", str(known))
    heard: list[bytes] = []
    async with server_that_hangs_up(certificate, heard) as port:
        url = f"postgresql://worker:secret@localhost:{port}/nexus?sslmode=verify-full"
        settings = PipelineSettings.from_environ({"DATABASE_URL": url})
        engine = make_engine(settings.database_url, application="test")
        with pytest.raises(ends_in):
            await engine.connect()
        await engine.dispose()

    assert any(b"worker" in message for message in heard) == speaks
