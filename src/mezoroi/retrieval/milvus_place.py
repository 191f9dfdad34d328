"""Where a Milvus is, by its URI; told without its client, whose import takes long."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from urllib.parse import urlsplit

from mezoroi.errors import MezoroiError

COLLECTION = "mezoroi_references"
_SERVERS = ("http://", "https://")
_PORT = 19530
_CONNECT_SECONDS = 2.0
_PROXIES = ("grpc_proxy", "https_proxy", "http_proxy")


def is_milvus(path_or_uri: str | Path) -> bool:
    """True for a server's address, and for the folder ``NAME.db`` of a Milvus in this process."""
    text = str(path_or_uri)
    return not is_local(text) or text.partition("#")[0].endswith(".db")


def is_local(uri: str) -> bool:
    """True for a Milvus of this process."""
    return not uri.startswith(_SERVERS)


def split_uri(uri: str) -> tuple[str, str]:
    """Address and collection."""
    address, _, collection = uri.partition("#")
    return address, collection or COLLECTION


def is_missing(uri: str) -> bool:
    """True for a folder that is not there: connecting would make it."""
    return is_local(uri) and not Path(split_uri(uri)[0]).exists()


def check_place(uri: str) -> None:
    """Refuse a place where no Milvus can be.

    Raises
    ------
    MezoroiError
        If the address is none, nobody listens there within 2 seconds, or the folder is a file.
    """
    address, _ = split_uri(uri)
    if is_local(uri):
        if Path(address).is_file():
            raise MezoroiError(
                f"{uri} is a file, and a name in .db is the folder of a Milvus: call a file of "
                f"references {Path(address).stem}.sqlite"
            )
        return
    host, port = _host_and_port(uri, address)
    if any(map(os.environ.get, _PROXIES)):  # which the client takes, and this look would not
        return
    try:
        socket.create_connection((host, port), timeout=_CONNECT_SECONDS).close()
    except (OSError, UnicodeError) as error:  # a host's name may be none
        reason = "it does not answer" if isinstance(error, TimeoutError) else error
        raise MezoroiError(
            f"Milvus at {uri} does not do it ({reason}): check the address and that the server runs"
        ) from error


def _host_and_port(uri: str, address: str) -> tuple[str, int]:
    """Of a server; without a host, pymilvus would take this machine."""
    try:
        found = urlsplit(address)
        host, port = found.hostname, found.port
    except ValueError:  # the port is no number, or the host no IPv6 address
        host, port = None, None
    if not host or port == 0:
        raise MezoroiError(f"{uri} is no address of a server: write it as http://HOST:19530")
    return host, port or (443 if uri.startswith("https") else _PORT)
