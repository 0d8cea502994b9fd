"""Where the photos of an index lie: in a folder of this computer, or in an object store."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Protocol

from glocal.data.image import DecodeLimits, read_file
from glocal.data.remote import RemoteFolder
from glocal.errors import ImageError
from glocal.extract.remote import scan_remote
from glocal.store.scan import FolderScan, FoundFile, scan_folder


class PhotoFolder(Protocol):
    """What the indexer asks of a folder."""

    @property
    def address(self) -> bytes:
        """What a file's relative path is joined to: an absolute path, or a URL."""

    def scan(self) -> FolderScan:
        """All pictures that are there."""

    def hash(self, found: FoundFile, limits: DecodeLimits) -> str | None:
        """The content hash of a file, if that is cheaper than to describe it; None if it is not, or fails."""


class LocalFolder:
    """A folder of this computer."""

    def __init__(self, root: Path) -> None:
        self.address = os.fsencode(root.resolve())

    def scan(self) -> FolderScan:
        """All pictures that are there; links are not followed."""
        return scan_folder(self.address)

    def hash(self, found: FoundFile, limits: DecodeLimits) -> str | None:
        """The content hash of a file; None where it cannot be read: a worker meets the same trouble and reports it."""
        try:
            return read_file(os.path.join(self.address, found.path), limits).content_hash
        except ImageError:
            return None


class StoreFolder:
    """A folder in an object store."""

    def __init__(self, folder: RemoteFolder) -> None:
        self.address = os.fsencode(folder.url)
        self._folder = folder

    def scan(self) -> FolderScan:
        """All pictures that are there."""
        return scan_remote(self._folder)

    def hash(self, found: FoundFile, limits: DecodeLimits) -> None:
        """Nothing: to read a file twice costs more here than to describe one that turns out to be a copy."""
