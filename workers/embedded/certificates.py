"""The credentials of an embedded server: keys and certificates of one BATON_HOME, readable by its owner only.

The key of the authority that signs both is never written, so no third certificate can be made.
"""

import datetime
import os
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from baton.errors import ServerStartFailed
from workers.embedded.server_files import ServerFiles, UserLock

if TYPE_CHECKING:
    from temporalio.service import TLSConfig

_BEFORE = datetime.timedelta(days=2 * 365)
"""Validity before the time of making: a clock that was ahead then, or is behind now, must not lock a user out."""

_VALID = datetime.timedelta(days=10 * 365)
_RENEW = datetime.timedelta(days=365)
"""Certificates with less validity left are made anew when a server starts, for it may run for long."""

_LOCK_SECONDS = 20.0


@dataclass(frozen=True)
class ServerCredentials:
    """The files by which a process of this home authenticates at its embedded server."""

    directory: Path

    @property
    def authority(self) -> Path:
        """The certificate that signed both others."""
        return self.directory / "ca.pem"

    @property
    def certificate(self) -> Path:
        """The client's certificate."""
        return self.directory / "client.pem"

    @property
    def key(self) -> Path:
        """The client's private key."""
        return self.directory / "client.key"

    def tls(self) -> "TLSConfig":
        """Return the files' contents as the SDK takes them."""
        from temporalio.service import TLSConfig

        return TLSConfig(
            server_root_ca_cert=self.authority.read_bytes(),
            client_cert=self.certificate.read_bytes(),
            client_private_key=self.key.read_bytes(),
        )

    def environment(self) -> Mapping[str, str]:
        """Return the environment variables with the files, for the `temporal` command and other clients."""
        return {
            "TEMPORAL_TLS_SERVER_CA_CERT_PATH": str(self.authority),
            "TEMPORAL_TLS_CLIENT_CERT_PATH": str(self.certificate),
            "TEMPORAL_TLS_CLIENT_KEY_PATH": str(self.key),
        }


def ensure_credentials(files: ServerFiles) -> ServerCredentials:
    """Return the files of this home, made anew where they are missing, broken or about to expire.

    Raises ServerStartFailed if another process holds their lock for too long.
    """
    lock = UserLock(files.directory / "tls.lock")
    try:
        deadline = time.monotonic() + _LOCK_SECONDS
        while not lock.try_exclusive():
            if time.monotonic() > deadline:
                raise ServerStartFailed(
                    f"Another process holds {files.directory / 'tls.lock'} and does not release it."
                )
            time.sleep(0.02)
        if not _are_valid(files.tls):
            _make_certificates(files.tls)
    finally:
        lock.close()
    return ServerCredentials(files.tls)


def _are_valid(directory: Path) -> bool:
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    now = datetime.datetime.now(datetime.UTC)
    try:
        for name in ("server", "client"):
            certificate = x509.load_pem_x509_certificate((directory / f"{name}.pem").read_bytes())
            certificate.verify_directly_issued_by(x509.load_pem_x509_certificate((directory / "ca.pem").read_bytes()))
            key = load_pem_private_key((directory / f"{name}.key").read_bytes(), None)
            if key.public_key() != certificate.public_key():
                return False
            if not certificate.not_valid_before_utc < now < certificate.not_valid_after_utc - _RENEW:
                return False
    except (OSError, ValueError, TypeError):
        return False
    return True


def _make_certificates(directory: Path) -> None:
    """Make both pairs in a draft directory and rename it, so that no partial set is ever seen."""
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    now = datetime.datetime.now(datetime.UTC)
    draft = directory.with_suffix(".new")
    shutil.rmtree(draft, ignore_errors=True)
    draft.mkdir(mode=0o700)
    issuer_key = ec.generate_private_key(ec.SECP256R1())
    issuer = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "Baton embedded server")])
    usage = dict.fromkeys(
        ("content_commitment", "key_encipherment", "data_encipherment", "key_agreement", "encipher_only"), False
    ) | {"decipher_only": False}

    def sign(name: x509.Name, key: ec.EllipticCurvePrivateKey, *more: tuple[x509.ExtensionType, bool]) -> bytes:
        builder = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - _BEFORE)
            .not_valid_after(now + _VALID)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()), False)
        )
        for extension, critical in more:
            builder = builder.add_extension(extension, critical)
        return builder.sign(issuer_key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def is_authority(yes: bool) -> list[tuple[x509.ExtensionType, bool]]:
        signs = x509.KeyUsage(digital_signature=not yes, key_cert_sign=yes, crl_sign=yes, **usage)
        return [(x509.BasicConstraints(ca=yes, path_length=0 if yes else None), True), (signs, True)]

    _write_private(draft / "ca.pem", sign(issuer, issuer_key, *is_authority(True)))
    own = [x509.DNSName("localhost"), *(x509.IPAddress(ipaddress.ip_address(it)) for it in ("127.0.0.1", "::1"))]
    for name, purpose in (("server", ExtendedKeyUsageOID.SERVER_AUTH), ("client", ExtendedKeyUsageOID.CLIENT_AUTH)):
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Baton {name}")])
        extensions = [*is_authority(False), (x509.ExtendedKeyUsage([purpose]), False)]
        if name == "server":
            extensions.append((x509.SubjectAlternativeName(own), False))
        _write_private(draft / f"{name}.pem", sign(subject, key, *extensions))
        private = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        _write_private(draft / f"{name}.key", private)
    shutil.rmtree(directory, ignore_errors=True)
    draft.rename(directory)


def _write_private(path: Path, data: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
