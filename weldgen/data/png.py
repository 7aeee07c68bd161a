"""Chunks of PNG files that OpenCV does not write."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from typing import Any


def with_png_chunks(data: bytes, options: Mapping[str, Any]) -> bytes:
    """Put an ICC profile and EXIF data, which OpenCV does not write, behind a PNG's header."""
    chunks = b""
    if profile := options.get("icc_profile"):
        chunks += _png_chunk(b"iCCP", b"ICC Profile\0\0" + zlib.compress(profile))
    if exif := options.get("exif"):
        chunks += _png_chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    after_header = 8 + 25  # signature, then IHDR: length, name, 13 bytes, checksum
    return data[:after_header] + chunks + data[after_header:]


def _png_chunk(name: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))
