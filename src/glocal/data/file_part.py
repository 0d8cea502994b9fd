"""A part of a file that may be packed (zlib): its bytes in their order, unpacked no further than they are asked for."""

from __future__ import annotations

import zlib
from io import BufferedReader

_CHUNK = 1 << 20  # bytes that are unpacked at a time
_PACKED_CHUNK = 1 << 16


class FilePart:
    """A part of a file, read once from its start.

    Args:
        file: at the part's start; nobody else may read it meanwhile.
        size: of the part, in bytes.
        packed: whether it is a zlib stream.
    """

    def __init__(self, file: BufferedReader, size: int, packed: bool) -> None:
        self._file, self._left = file, size
        self._unpacker = zlib.decompressobj() if packed else None
        self._waiting = b""  # packed bytes that were read from the file, but not unpacked

    @property
    def ended(self) -> bool:
        """Whether all that is packed was read and its checksum is right; so it is with what is not packed."""
        return self._unpacker is None or self._unpacker.eof

    def read(self, size: int) -> bytes:
        """The next bytes; fewer where the part ends.

        Raises:
            zlib.error: what is packed is damaged.
        """
        target = bytearray(size)
        return bytes(target[: self.fill(memoryview(target))])

    def fill(self, target: memoryview) -> int:
        """Put the next bytes into a target; returns how many, fewer than fit where the part ends.

        Raises:
            zlib.error: what is packed is damaged.
        """
        done = 0
        while done < len(target):
            if self._unpacker is None:
                count = self._file.readinto(target[done : done + self._left])
                self._left -= count
            else:
                part = self._unpacked(self._unpacker, len(target) - done)
                count = len(part)
                target[done : done + count] = part
            if not count:
                break
            done += count
        return done

    def _unpacked(self, unpacker: zlib._Decompress, most: int) -> bytes:
        while not unpacker.eof:
            if not self._waiting:
                self._waiting = self._file.read(min(_PACKED_CHUNK, self._left))
                self._left -= len(self._waiting)
            part = unpacker.decompress(self._waiting, min(most, _CHUNK))
            self._waiting = unpacker.unconsumed_tail
            if part or not (self._waiting or self._left):
                return part
        return b""
