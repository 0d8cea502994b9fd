"""Request bodies -> parameters and pictures, in memory and bounded: nothing that is sent is written to disk."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeVar

from pydantic import BaseModel, ValidationError
from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from glocal.web.problems import Problem, validation_problem
from glocal.web.settings import Settings

M = TypeVar("M", bound=BaseModel)
JSON, MULTIPART = "application/json", "multipart/form-data"
PARAMS = "params"
_MAX_HEADERS = 16  # of one part
_MAX_NUMBER = 100  # digits
_STRING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?', re.DOTALL)
_BRACKET = re.compile(rb"[\[\]{}]")


@dataclass(frozen=True, slots=True)
class Upload:
    """One file of a multipart body.

    Attributes:
        part: the part's name.
        filename: as the client says it: never to be used as a path.
        data: its bytes.
    """

    part: str
    filename: str
    data: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Form:
    """A body that was read.

    Attributes:
        params: the JSON object: the body itself, or the part `params`.
        uploads: the files, in the order in which they came.
        warnings: what was sent and is not used.
    """

    params: dict[str, Any]
    uploads: tuple[Upload, ...] = ()
    warnings: tuple[str, ...] = ()

    def upload(self, name: str) -> bytes | None:
        """The bytes of the one file of a name; None if there is none."""
        return next((upload.data for upload in self.uploads if upload.part == name), None)


def media_type_of(request: Request) -> str:
    """The type of a request's body, without parameters."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def read_form(
    request: Request, settings: Settings, files: Collection[str] = ("image",), max_files: int | None = None
) -> Form:
    """A body that is JSON, or multipart with files and one part of JSON.

    Args:
        request: its body has not been read.
        settings: the limits.
        files: names that parts with files may have.
        max_files: most files of one name; None for one.

    Raises:
        Problem: `unsupported_media_type`, `invalid_params`, `too_many_parts`, `file_too_large`; and what the guard
            raises while the body comes.
    """
    kind = media_type_of(request)
    if kind == MULTIPART:
        return await _read_multipart(request, settings, files, max_files or 1)
    return Form(await read_json(request, settings))


async def read_json(request: Request, settings: Settings) -> dict[str, Any]:
    """The JSON object that a body is.

    Raises:
        Problem: `unsupported_media_type` or `invalid_params`.
    """
    if media_type_of(request) != JSON:
        raise Problem("unsupported_media_type", f"The body has to be {JSON} or, for pictures, {MULTIPART}.")
    data = bytearray()
    async for chunk in request.stream():
        data += chunk
    return parse_object(data, settings)


async def read_model(request: Request, settings: Settings, model: type[M]) -> M:
    """A JSON body of some shape.

    Raises:
        Problem: as for `read_json`; or it has another shape.
    """
    return validated(model, await read_json(request, settings))


def validated(model: type[M], params: Mapping[str, Any]) -> M:
    """Parameters of some shape.

    Raises:
        Problem: `invalid_params` or `value_too_large`, naming the first one that is wrong.
    """
    try:
        return model.model_validate(params)
    except ValidationError as error:
        raise validation_problem(error.errors(include_url=False)) from None


def parse_object(data: bytes | bytearray, settings: Settings) -> dict[str, Any]:
    """The JSON object in some bytes; its depth is checked before it is parsed.

    Raises:
        Problem: `invalid_params`.
    """
    most = settings.max_field_bytes
    bare = _without_strings(data) if data.count(b'"') <= most else None
    if bare is None or len(bare) > most:
        raise Problem("file_too_large", f"The JSON has more than {most:,} bytes besides its texts.")
    if _depth(bare) > settings.max_json_depth:
        raise Problem("invalid_params", f"The JSON is nested more than {settings.max_json_depth} deep.")
    try:
        found = json.loads(data.decode("utf-8"), parse_constant=_no_number, parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise Problem("invalid_params", f"The body is no JSON: {str(error)[:100]}") from None
    if not isinstance(found, dict):
        raise Problem("invalid_params", "The JSON has to be an object.")
    return found


def depth_of(data: bytes | bytearray) -> int:
    """How deep the brackets of a JSON text are nested; those in strings do not count."""
    return _depth(_without_strings(data))


def _without_strings(data: bytes | bytearray) -> bytes:
    """A JSON text without what is in quotes: of megabytes of base64 nothing is left."""
    return _STRING.sub(b"", data)


def _depth(bare: bytes) -> int:
    deepest = depth = 0
    for bracket in _BRACKET.findall(bare):
        depth += 1 if bracket in b"[{" else -1
        deepest = max(deepest, depth)
    return deepest


def decode_base64(text: str) -> bytes:
    """The bytes of strict base64, with padding and without blanks or line ends.

    Raises:
        Problem: `invalid_params`.
    """
    try:
        return base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        raise Problem("invalid_params", "The base64 of a picture is damaged.", "no blanks, no data: prefix") from None


def _no_number(text: str) -> NoReturn:
    raise ValueError(f"{text} is no number")


def _integer(text: str) -> int:
    if len(text) > _MAX_NUMBER:
        raise ValueError("a number has too many digits")
    return int(text)


# ---------------------------------------------------------------------- multipart
async def _read_multipart(request: Request, settings: Settings, files: Collection[str], max_files: int) -> Form:
    _, options = parse_options_header(request.headers.get("content-type", ""))
    boundary = options.get(b"boundary", b"")
    if not 0 < len(boundary) <= 200:
        raise Problem("invalid_params", "The multipart body has no boundary.")
    parts = _Parts(settings, files, max_files)
    parser = MultipartParser(boundary, parts.callbacks())  # type: ignore[arg-type]
    try:
        async for chunk in request.stream():
            parser.write(chunk)
        parser.finalize()
    except FormParserError as error:
        raise Problem("invalid_params", f"The multipart body is damaged: {str(error)[:100]}") from None
    if not parts.is_complete:
        raise Problem("invalid_params", "The multipart body ends early.")
    params = parse_object(parts.params, settings) if parts.params is not None else {}
    warnings = [f"{parts.num_ignored} parts with other names than {PARAMS} are not used"] if parts.num_ignored else []
    return Form(params, tuple(parts.uploads), tuple(warnings))


class _Parts:
    """Collects the parts of a multipart body while it comes."""

    def __init__(self, settings: Settings, files: Collection[str], max_files: int) -> None:
        self._settings, self._files, self._max_files = settings, files, max_files
        self._num_fields = 0
        self.num_ignored = 0
        self._reset()
        self.params: bytes | None = None
        self.uploads: list[Upload] = []
        self.is_complete = False

    def callbacks(self) -> dict[str, Any]:
        """For the parser."""
        return {
            "on_part_begin": self._begin,
            "on_header_field": self._header_name,
            "on_header_value": self._header_value,
            "on_header_end": self._header_end,
            "on_headers_finished": self._headers_finished,
            "on_part_data": self._add,
            "on_part_end": self._end,
            "on_end": self._finish,
        }

    def _reset(self) -> None:
        self._name, self._filename, self._is_file = "", "", False
        self._header, self._value = b"", b""
        self._headers: dict[bytes, bytes] = {}
        self._data = bytearray()

    def _begin(self) -> None:
        self._reset()

    def _header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]
        self._limit_headers()

    def _header_value(self, data: bytes, start: int, end: int) -> None:
        self._value += data[start:end]
        self._limit_headers()

    def _limit_headers(self) -> None:
        if len(self._header) + len(self._value) > self._settings.max_field_bytes:
            raise Problem("file_too_large", "The headers of a part have too many bytes.")

    def _header_end(self) -> None:
        self._headers[self._header.lower()] = self._value
        self._header, self._value = b"", b""
        if len(self._headers) > _MAX_HEADERS:
            raise Problem("too_many_parts", "A part has too many headers.")

    def _headers_finished(self) -> None:
        kind, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        if kind != b"form-data" or b"name" not in options:
            raise Problem("invalid_params", "A part of the multipart body has no name.")
        self._name = options[b"name"].decode("utf-8", "replace")
        self._filename = options.get(b"filename", b"").decode("utf-8", "replace")
        self._is_file = self._name in self._files
        if self._is_file:
            before = sum(upload.part == self._name for upload in self.uploads)
            if before >= self._max_files:
                raise Problem("too_many_parts", f'A body may have {self._max_files} part "{self._name}".')
            return
        if b"filename" in options:
            raise Problem("too_many_parts", f"Files may be in parts of these names alone: {', '.join(self._files)}.")
        self._num_fields += 1
        if self._num_fields > self._settings.max_fields:
            raise Problem("too_many_parts", f"A body may have {self._settings.max_fields} parts besides files.")
        if self._name == PARAMS and self.params is not None:
            raise Problem("too_many_parts", f'There are two parts "{PARAMS}".')

    def _add(self, data: bytes, start: int, end: int) -> None:
        if not self._is_file and len(self._data) + end - start > self._settings.max_field_bytes:
            limit = self._settings.max_field_bytes
            raise Problem("file_too_large", f"A part that is no file has more than {limit:,} bytes.")
        self._data += memoryview(data)[start:end]

    def _end(self) -> None:
        if self._is_file:
            self.uploads.append(Upload(self._name, self._filename, bytes(self._data)))
        elif self._name == PARAMS:
            self.params = bytes(self._data)
        else:
            self.num_ignored += 1
        self._reset()

    def _finish(self) -> None:
        self.is_complete = True
