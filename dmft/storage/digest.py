r"""A digest at the end of a file, which tells before it is parsed whether each byte is as written.

    content | "\ndmft sha256 " | 64 hexadecimal digits of the content's SHA-256 | "\n"

HDF5 and all that is built on it ignore what follows the end of their data, so that the file opens
in h5py and xarray as it is. A program that changes the file removes or invalidates the digest.
"""

from __future__ import annotations

import hashlib

MARK = b"\ndmft sha256 "
LENGTH = len(MARK) + 64 + 1


def seal(content: bytes) -> bytes:
    r"""Return the content followed by its digest.

    Examples
    --------
    >>> unsealed(seal(b"numbers"))
    b'numbers'
    """
    return b"".join((content, MARK, hashlib.sha256(content).hexdigest().encode(), b"\n"))


def sealed(data: bytes) -> bool:
    """Return whether the data ends in a digest, be it right or wrong.

    Examples
    --------
    >>> sealed(b"anything")
    False
    """
    return data[-LENGTH:].startswith(MARK)


def unsealed(data: bytes) -> bytes:
    """Return the content of sealed data.

    Raises
    ------
    ValueError
        If there is no digest, or it is not that of the content.
    """
    if not sealed(data):
        raise ValueError("it has no digest at its end: it is truncated, or was changed since")
    content = data[:-LENGTH]
    if seal(content)[-LENGTH:] != data[-LENGTH:]:
        raise ValueError("its digest does not fit its content: it is damaged, or was changed since")
    return content
