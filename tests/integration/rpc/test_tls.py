"""TLS between client and server, and certificates of callers."""

import datetime
import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from simulacra.errors import ServiceUnavailable
from simulacra.rpc import PrincipalSigner, Registration, Server, channel_credentials, open_channel
from tests.integration.rpc.echo import ANN, KEY, Bytes, Echo, EchoSettings, EchoStub, add_echo


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that is its own authority, and its key."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "simulacra tests")])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(minutes=1))
        .not_valid_after(now + datetime.timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), True)
        .sign(key, hashes.SHA256())
    )
    (tmp_path / "tls.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (tmp_path / "tls.key").write_bytes(key.private_bytes(pem, pkcs8, serialization.NoEncryption()))
    return tmp_path / "tls.crt", tmp_path / "tls.key"


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
