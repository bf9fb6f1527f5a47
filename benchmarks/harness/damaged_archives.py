"""Archives damaged on purpose, member by member: arrays, JSON and HDF5 in .npz and .keras files, checksums right."""

import io
import json
import random
import struct
import zipfile

import numpy as np

from benchmarks.harness.damaged_values import damaged_bytes, damaged_json

_HEADERS = (
    "{'descr': '<f4', 'fortran_order': False, 'shape': (1000000, 1000000), }",
    "{'descr': '|O', 'fortran_order': False, 'shape': (3,), }",
    "{'descr': '<f4', 'fortran_order': True, 'shape': (-1, 3), }",
    "{'descr': '<U99999999', 'fortran_order': False, 'shape': (), }",
    "{'descr': 'M8[s]', 'fortran_order': False, 'shape': (2, 3), }",
    "{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }",
    "{'descr': '<f4', 'fortran_order': False, 'shape': (" + "1, " * 40 + "), }",
    "{'descr': '<f4', 'shape': (2,), }",
    "(" * 300,
    "",
)


def damaged_archive(rng: random.Random, content: bytes) -> bytes:
    """A zip file with members changed, lost, doubled or exchanged; its checksums and its list of members are right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    for _ in range(rng.choice((1, 1, 2, 4))):
        if not members:
            break
        at = rng.randrange(len(members))
        name, part = members[at]
        match rng.randrange(10):
            case 0:
                del members[at]
            case 1:
                members.append((rng.choice((name, "../x", "/etc/x", "x.npy", "x" * 60_000)), part))
            case 2:
                other = rng.choice(members)[1]
                members[at] = (name, other)
            case 3:
                members[at] = (name, rng.choice((b"", b"\0" * 10**7, rng.randbytes(100), part * 3)))
            case _:
                members[at] = (name, damaged_member(rng, name, part))
    written = io.BytesIO()
    with zipfile.ZipFile(written, "w", rng.choice((zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED))) as archive:
        for name, part in members:
            archive.writestr(zipfile.ZipInfo(name), part)
    return written.getvalue()


def damaged_member(rng: random.Random, name: str, content: bytes) -> bytes:
    """One member changed inside what its name says it is; blindly, if it no longer is that."""
    if len(content) < 2:
        return rng.randbytes(9)
    if rng.random() < 0.2:
        return damaged_bytes(rng, content)
    try:
        return _damaged_inside(rng, name, content)
    except Exception:
        return damaged_bytes(rng, content)


def _damaged_inside(rng: random.Random, name: str, content: bytes) -> bytes:
    if name.endswith(".npy"):
        return damaged_array(rng, content)
    if name.endswith(".json"):
        value = json.loads(content)
        for _ in range(rng.choice((1, 1, 3))):
            value = damaged_json(rng, value)
        return json.dumps(value).encode()
    return damaged_hdf5(rng, content) if name.endswith(".h5") else damaged_bytes(rng, content)


def damaged_array(rng: random.Random, content: bytes) -> bytes:
    """Another header, other values, or for a record its JSON changed."""
    array = np.load(io.BytesIO(content))
    written = io.BytesIO()
    if array.dtype.kind == "U" and not array.shape and rng.random() < 0.85:
        record = json.loads(str(array))
        for _ in range(rng.choice((1, 1, 2, 4))):
            record = damaged_json(rng, record)
        np.save(written, np.array(json.dumps(record)))
        return written.getvalue()
    match rng.randrange(4):
        case 0:
            header = rng.choice(_HEADERS).encode() + b"\n"
            return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content[128:]
        case 1 if array.dtype.kind == "f" and array.size:
            array = np.full_like(array, rng.choice((np.nan, np.inf, -1e30)))
        case 2:
            array = array[None] if rng.random() < 0.5 else array.ravel()[:-1]
        case _:
            array = array.astype(rng.choice(("f2", "f8", "i4", "u8", "?", "c8", "S3", "U3")))
    np.save(written, array)
    return written.getvalue()


def damaged_hdf5(rng: random.Random, content: bytes) -> bytes:
    """Datasets and groups renamed, lost, put in each other's place, or with other values, types and shapes."""
    import h5py

    written = io.BytesIO(content)
    with h5py.File(written, "r+") as file:
        for _ in range(rng.choice((1, 1, 2, 4))):
            names: list[str] = []
            file.visit(names.append)
            if not names:
                break
            name = rng.choice(names)
            match rng.randrange(8):
                case 0:
                    del file[name]
                case 1:
                    file.move(name, name + "x")
                case 2:
                    del file[name]
                    file[name] = h5py.SoftLink(rng.choice(("/nowhere", "/", name)))
                case 3:
                    del file[name]
                    file[name] = h5py.ExternalLink(rng.choice(("/etc/passwd", "/dev/zero")), "/")
                case 4:
                    del file[name]
                    file.create_dataset(name, (10**6, 10**6), "f4", chunks=(1000, 1000))
                case 5:
                    holder = file[name]
                    holder.attrs["x"] = "y" * 100
                    for key in list(holder.attrs):
                        holder.attrs[key] = rng.choice((5, "", "x", [1.5, 2.5]))
                case _:
                    shape, dtype = (
                        rng.choice(((), (0,), (1,), (3, 4), (2, 2, 2))),
                        rng.choice(("f4", "f8", "i4", "S3", "?")),
                    )
                    del file[name]
                    file[name] = np.zeros(shape, dtype)
    return written.getvalue()


def damaged_file(rng: random.Random, content: bytes) -> bytes:
    """An archive damaged blindly or member by member."""
    return damaged_bytes(rng, content) if rng.random() < 0.3 else damaged_archive(rng, content)
