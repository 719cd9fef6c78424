"""The way to a Dask cluster: its address, and the certificates that encrypt the connection."""

from __future__ import annotations

import ipaddress
import ssl
from dataclasses import dataclass
from pathlib import Path

import distributed
from distributed.comm.addressing import parse_address, parse_host_port

from nbmark.errors import UsageError
from nbmark.untrusted.text import one_line


@dataclass(frozen=True)
class Tls:
    """Files in PEM format: the authority that signed all certificates, and our own certificate."""

    ca: Path
    certificate: Path
    key: Path


class Connection:
    """The options for reaching a cluster.

    Parameters
    ----------
    address
        The scheduler's: ``tls://host:port``, or ``tcp://`` on this very machine.
    tls
        None for the certificates in Dask's own configuration (``distributed.comm.tls``).
    patience_s
        How long the cluster may be without any worker.

    Raises
    ------
    UsageError
        If the connection would not be encrypted, or certificates are missing; nothing was sent.
    """

    def __init__(self, address: str, tls: Tls | None, patience_s: float) -> None:
        self.address = address
        self.security = _security(address, tls)
        self.patience_s = patience_s


def _security(address: str, tls: Tls | None) -> distributed.Security:
    """Return Dask's object for encryption, after checking that it will encrypt."""
    try:
        scheme, location = parse_address(address)
        parse_host_port(location)
    except ValueError as error:
        raise UsageError(f"--scheduler {address}: {error}") from error
    if scheme != "tls":
        if not is_private(address):
            raise UsageError(
                f"--scheduler {address} is not encrypted: anybody on the network could read the "
                "hidden checks and change grades. Start scheduler and workers with TLS "
                f"(docs/scale.md) and give tls://{location}"
            )
        if tls is not None:
            raise UsageError(f"--scheduler {address}: the --tls options need an address tls://")
        # On this machine alone, Dask's configuration for other clusters must not demand TLS.
        return distributed.Security(require_encryption=False)
    return _encrypted(address, tls)


def _encrypted(address: str, tls: Tls | None) -> distributed.Security:
    files = {}
    if tls is not None:
        files = {
            "tls_ca_file": str(tls.ca),
            "tls_client_cert": str(tls.certificate),
            "tls_client_key": str(tls.key),
        }
    security = distributed.Security(require_encryption=True, **files)
    # Dask reads the files when it connects, and reports bad ones only in a traceback. Reading them
    # here gives one line, before anything is sent.
    try:
        context = security.get_connection_args("client")["ssl_context"]
    except OSError as error:  # a missing file, or ssl.SSLError, which is an OSError too
        raise UsageError(
            f"the certificate for --scheduler {address}: {one_line(str(error), 300)}"
        ) from error
    if not isinstance(context, ssl.SSLContext):
        raise UsageError(
            f"--scheduler {address} needs certificates: give --tls-ca, --tls-cert and --tls-key, "
            "or set them in Dask's configuration under distributed.comm.tls"
        )
    return security


def is_private(address: str) -> bool:
    """Return whether a connection is encrypted or does not leave this machine."""
    scheme, location = parse_address(address)
    if scheme != "tcp":
        return bool(scheme == "tls")
    host, _ = parse_host_port(location)
    try:
        return bool(host == "localhost" or ipaddress.ip_address(host).is_loopback)
    except ValueError:
        # Any other name may lead off this machine, as `127.0.0.1.example` does.
        return False
