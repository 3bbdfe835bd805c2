"""TLS between client and server, and certificates of callers."""

from pathlib import Path

import pytest

from simulacra.errors import ServiceUnavailable
from simulacra.rpc import PrincipalSigner, Registration, Server, channel_credentials, open_channel
from tests.certificates import self_signed
from tests.integration.rpc.echo import ANN, KEY, Bytes, Echo, EchoSettings, EchoStub, add_echo


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    return self_signed(tmp_path)


@pytest.mark.parametrize("mutual", [False, True])
async def test_calls_over_tls(files: tuple[Path, Path], echo: Echo, tmp_path: Path, mutual: bool) -> None:
    certificate, key = files
    settings = EchoSettings(
        data_dir=tmp_path,
        internal_key=KEY,
        host="0.0.0.0",
        tls_certificate=certificate,
        tls_key=key,
        tls_client_ca=certificate if mutual else None,
        tls_ca=certificate,
        grace=0,
    )
    server = Server(settings, [Registration(add_echo, echo)])
    target = f"127.0.0.1:{await server.start()}"
    signer = PrincipalSigner(KEY.encode())
    try:
        credentials = settings.peer_credentials()
        async with open_channel(target, signer=signer, principal=ANN, credentials=credentials) as channel:
            assert (await EchoStub(channel).say(Bytes(value=b"hello"))).value == b"hello"
        async with open_channel(target, signer=signer, principal=ANN) as plain:
            with pytest.raises(ServiceUnavailable):
                await EchoStub(plain).say(Bytes())
        anonymous = channel_credentials(ca=certificate)
        async with open_channel(target, signer=signer, principal=ANN, credentials=anonymous) as channel:
            if mutual:
                with pytest.raises(ServiceUnavailable):
                    await EchoStub(channel).say(Bytes())
            else:
                await EchoStub(channel).say(Bytes())
    finally:
        await server.stop(0)
