"""Files of arrays that would fill the memory: refused before they are unpacked."""

import zipfile

import numpy as np
import pytest

from tfseq.errors import ArtefactError
from tfseq.runtime.array_files import load_numpy


def test_a_file_that_unpacks_to_far_more_is_refused(tmp_path):
    with (
        zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive,
        archive.open("a.npy", "w") as member,
    ):
        for _ in range(2**30 // 2**24 + 1):
            member.write(bytes(2**24))
    with pytest.raises(ArtefactError, match=r"bomb\.npz would unpack to 1,090,519,040 bytes"):
        load_numpy(tmp_path / "bomb.npz")


def test_packed_zeros_are_arrays(tmp_path):
    np.savez_compressed(tmp_path / "zeros.npz", a=np.zeros((1000, 1000)))
    assert load_numpy(tmp_path / "zeros.npz")["a"].shape == (1000, 1000)
