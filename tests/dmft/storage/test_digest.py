"""The digest at the end of a file."""

import hashlib

import numpy as np
import pytest

from dmft.storage import load
from dmft.storage.digest import LENGTH, seal, sealed, unsealed

CONTENT = b"\x89HDF and some numbers"


def test_it_is_what_sha256sum_prints():
    data = seal(CONTENT)
    assert unsealed(data) == CONTENT
    assert len(data) == len(CONTENT) + LENGTH
    digest = hashlib.sha256(data[:-LENGTH]).hexdigest()
    assert data.endswith(f"dmft sha256 {digest}\n".encode())


def test_every_changed_bit_and_every_truncation_is_refused():
    data = seal(CONTENT)
    for place in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[place] ^= 1 << bit
            with pytest.raises(ValueError, match="digest"):
                unsealed(bytes(changed))
    for size in range(len(data)):
        with pytest.raises(ValueError, match="no digest"):
            unsealed(data[:size])
    with pytest.raises(ValueError, match="digest"):
        unsealed(data + b"\0")


def test_a_file_that_lost_its_digest_is_not_taken_for_an_old_one(solution, path):
    whole = path.read_bytes()
    assert sealed(whole)
    path.write_bytes(whole[:-LENGTH])
    with pytest.raises(ValueError, match=r"run\.h5 .*no digest"):
        load(path)
    assert load(path, verify=False) == solution
    # nor where the byte that tells old files from new ones is what is damaged
    old = bytearray(whole)
    old[8] = 0
    path.write_bytes(bytes(old))
    with pytest.raises(ValueError, match=r"run\.h5 .*does not fit"):
        load(path)


def test_another_number_is_refused_unless_it_is_asked_for(solution, path):
    data = bytearray(path.read_bytes())
    value = solution.C_w[0, 0].tobytes()
    place = data.index(value)
    data[place : place + 8] = np.float64(3.0).tobytes()
    path.write_bytes(bytes(data))
    with pytest.raises(ValueError, match="does not fit its content"):
        load(path)
    assert load(path, verify=False) != solution
