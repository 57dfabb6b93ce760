"""Small ICC profiles for tests (ICC.1:2001-04, version 2), built tag by tag."""

import struct

import numpy as np

Primaries = tuple[tuple[float, float, float], ...]
D50 = (0.9642, 1.0, 0.8249)
DISPLAY_P3: Primaries = ((0.51512, 0.2412, -0.00105), (0.29198, 0.69225, 0.04189), (0.1571, 0.06657, 0.78407))
SRGB: Primaries = ((0.43607, 0.22249, 0.01392), (0.38515, 0.71687, 0.09708), (0.14307, 0.06061, 0.7141))
"""X, Y, Z of red, green and blue, adapted to D50."""


def rgb_profile(primaries: Primaries = DISPLAY_P3, gamma: float | None = None, padding: int = 0) -> bytes:
    """A profile of a display: its primaries, and a gamma or, without one, the curve of sRGB.

    `padding` makes it longer by a private tag of bytes that pack badly.
    """
    colours = {kind: _xyz(*xyz) for kind, xyz in zip((b"rXYZ", b"gXYZ", b"bXYZ"), primaries, strict=True)}
    curves = dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _curve(gamma))
    more = {b"pad ": b"data\0\0\0\0\0\0\0\1" + np.random.default_rng(0).bytes(padding)} if padding else {}
    return _profile(b"mntr", b"RGB ", b"XYZ ", colours | curves | more)


def gray_profile(gamma: float) -> bytes:
    return _profile(b"mntr", b"GRAY", b"XYZ ", {b"kTRC": _curve(gamma)})


def cmyk_profile() -> bytes:
    """A profile of a press whose inks are duller than those that a plain inversion takes them for."""
    inks = np.array([(-20, -30, -40), (-35, 60, 0), (-8, -5, 75), (-70, 0, 0)], float)  # what each does to L*, a*, b*
    amounts = np.stack(np.meshgrid(*[(0, 1)] * 4, indexing="ij"), axis=-1).reshape(-1, 4)
    lab = np.clip(np.array((95.0, 0, 0)) + amounts @ inks, (8, -100, -100), (100, 100, 100))
    grid = np.rint(np.stack([lab[:, 0] * 2.55, lab[:, 1] + 128, lab[:, 2] + 128], axis=1)).astype(np.uint8)
    ramp = bytes(range(256))
    matrix = struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    table = b"mft1\0\0\0\0" + bytes((4, 3, 2, 0)) + matrix + ramp * 4 + grid.tobytes() + ramp * 3
    return _profile(b"prtr", b"CMYK", b"Lab ", {b"A2B0": table})


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">3i", *(round(value * 65536) for value in values))


def _curve(gamma: float | None) -> bytes:
    if gamma is not None:
        return b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256))
    x = np.arange(1024) / 1023
    y = np.where(x <= 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4)
    return b"curv\0\0\0\0" + struct.pack(">I", len(y)) + np.rint(y * 65535).astype(">u2").tobytes()


def _profile(kind: bytes, space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    text = b"a profile for tests\0"
    tags = {
        b"desc": b"desc\0\0\0\0" + struct.pack(">I", len(text)) + text + bytes(78),
        b"cprt": b"text\0\0\0\0CC0\0",
        b"wtpt": _xyz(*D50),
    } | tags
    table, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        table += struct.pack(">4sII", name, 132 + 12 * len(tags) + len(body), len(content))
        body += content + bytes(-len(content) % 4)
    size = 128 + len(table) + len(body)
    head = struct.pack(">I4sI4s4s4s", size, b"\0\0\0\0", 0x02400000, kind, space, connection)
    head += struct.pack(">6H", 2024, 1, 1, 0, 0, 0) + b"acsp" + bytes(28) + _xyz(*D50)[8:]
    return head.ljust(128, b"\0") + table + body
