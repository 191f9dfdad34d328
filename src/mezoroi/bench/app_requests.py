"""Uploads whose request is wrong, whatever their file is."""

from __future__ import annotations

import http.client
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from urllib.parse import urlsplit

import numpy as np

_EDGE = "edge-of-a-part"
_FORM = f"multipart/form-data; boundary={_EDGE}"
_SECONDS = 60.0


@dataclass(frozen=True)
class WrongRequest:
    """The body of an upload with its headers.

    Attributes
    ----------
    headers : besides the length of the body, which `length` replaces
    is_cut_off : whether the server waits for more than comes, so that it need not answer
    """

    kind: str
    body: bytes
    headers: Mapping[str, str] = field(default_factory=lambda: {"content-type": _FORM})
    length: str | None = None
    is_cut_off: bool = False


def wrong_requests(count: int, photo: bytes, seed: int) -> Iterator[WrongRequest]:
    """So many requests that no browser makes, every kind in turn.

    Parameters
    ----------
    photo : a sound photo, so that nothing but the request is wrong
    """
    kinds = list(_KINDS.items())
    for number in range(count):
        kind, make = kinds[number % len(kinds)]
        yield make(kind, photo, np.random.default_rng([seed, number]))


def send_raw(url: str, path: str, token: str, request: WrongRequest) -> tuple[int | None, str]:
    """Status and text of the answer, or None where the server closed the connection."""
    address = urlsplit(url)
    assert address.hostname is not None
    connection = http.client.HTTPConnection(address.hostname, address.port, timeout=_SECONDS)
    try:
        connection.putrequest("POST", path)
        connection.putheader("authorization", f"Bearer {token}")
        for name, value in request.headers.items():
            connection.putheader(name, value)
        if "transfer-encoding" not in request.headers:
            connection.putheader("content-length", request.length or str(len(request.body)))
        connection.endheaders()
        connection.send(request.body)
        if request.is_cut_off:
            return None, ""
        answer = connection.getresponse()
        return answer.status, answer.read().decode(errors="replace")
    except (http.client.HTTPException, ConnectionError):
        return None, ""
    finally:
        connection.close()


def _part(disposition: str, content: bytes, more: str = "") -> bytes:
    head = f"--{_EDGE}\r\nContent-Disposition: {disposition}\r\n{more}\r\n"
    return head.encode() + content + b"\r\n"


def _file(photo: bytes, name: str = "melon.jpg") -> bytes:
    return _part(f'form-data; name="file"; filename="{name}"', photo)


_END = f"--{_EDGE}--\r\n".encode()
Rng = np.random.Generator


def _no_boundary(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    return WrongRequest(kind, _file(photo) + _END, {"content-type": "multipart/form-data"})


def _other_boundary(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    other = {"content-type": f"multipart/form-data; boundary={rng.integers(10**9)}"}
    return WrongRequest(kind, _file(photo) + _END, other)


def _no_end(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    whole = _file(photo)
    return WrongRequest(kind, whole[: int(len(whole) * rng.uniform(0.01, 0.9))])


def _no_file(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    return WrongRequest(kind, _part('form-data; name="note"', b"hello") + _END)


def _file_as_text(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    return WrongRequest(kind, _part('form-data; name="file"', photo[:500]) + _END)


def _two_files(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    return WrongRequest(kind, _file(photo) + _file(photo) + _END)


def _many_fields(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    fields = [_part(f'form-data; name="f{n}"', b"1") for n in range(int(rng.integers(50, 2000)))]
    return WrongRequest(kind, b"".join(fields) + _file(photo) + _END)


def _long_field(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    text = b"a" * int(rng.integers(2**21, 2**22))
    return WrongRequest(kind, _part('form-data; name="note"', text) + _file(photo) + _END)


def _no_name(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    return WrongRequest(kind, _part('form-data; filename="melon.jpg"', photo) + _END)


def _long_header(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    more = f"X-More: {'a' * int(rng.integers(20_000, 200_000))}\r\n"
    part = _part('form-data; name="file"; filename="a.jpg"', photo, more)
    return WrongRequest(kind, part + _END)


def _noise(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    return WrongRequest(kind, rng.bytes(int(rng.integers(1, 20_000))))


def _json(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    return WrongRequest(kind, b'{"file": "melon.jpg"}', {"content-type": "application/json"})


def _bare(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    return WrongRequest(kind, photo, {"content-type": "image/jpeg"})


def _bad_number(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    texts = (b"nan", b"-1", b"1e999", b"heavy", b"\xff\xfe", b"1;2", b"9" * 500)
    weight = _part('form-data; name="weight"', texts[rng.integers(len(texts))])
    return WrongRequest(kind, weight + _file(photo) + _END)


def _huge(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    """Says that terabytes follow: refused before any of them."""
    length = str(int(rng.integers(2**31, 2**42)))
    return WrongRequest(kind, b"", length=length)


def _no_length(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    lengths = ("-5", "abc", "0x10", "1e3", "9" * 40)
    return WrongRequest(kind, _file(photo), length=lengths[rng.integers(len(lengths))])


def _bad_chunks(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    chunks = {"content-type": _FORM, "transfer-encoding": "chunked"}
    return WrongRequest(kind, b"zz\r\n" + photo[:100] + b"\r\n0\r\n\r\n", chunks)


def _hung_up(kind: str, photo: bytes, rng: Rng) -> WrongRequest:
    """The tablet leaves the network in the middle of an upload."""
    whole = _file(photo) + _END
    half = whole[: len(whole) // 2]
    return WrongRequest(kind, half, length=str(len(whole)), is_cut_off=True)


_KINDS: dict[str, Callable[[str, bytes, Rng], WrongRequest]] = {
    "no boundary": _no_boundary,
    "other boundary": _other_boundary,
    "form without end": _no_end,
    "no file": _no_file,
    "file as text": _file_as_text,
    "two files": _two_files,
    "many fields": _many_fields,
    "field of megabytes": _long_field,
    "part without name": _no_name,
    "long header of a part": _long_header,
    "noise": _noise,
    "JSON": _json,
    "picture without a form": _bare,
    "number that is none": _bad_number,
    "terabytes announced": _huge,
    "length that is none": _no_length,
    "broken chunks": _bad_chunks,
    "hung up": _hung_up,
}
KINDS = tuple(_KINDS)
"""What can be wrong with a request."""
