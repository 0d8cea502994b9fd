"""The child process that reads hostile files: `python -m glocal.extract.worker MODEL LIMITS`.

MODEL is one that needs no network, or `none` for a process that only decodes. The process takes one JSON request per
line on stdin, which the bytes of a photo may follow, and answers with one message on stdout. It can be killed at any
moment. Where the system allows it, it can neither write files nor take more than its share of memory.
"""

from __future__ import annotations

import dataclasses
import json
import os
import resource
import signal
import sys
import time
from typing import Any, BinaryIO

import cv2
from PIL import Image

from glocal.data.formats import register_heif
from glocal.data.image import DecodeLimits, check_bytes, decode, inspect, read_file
from glocal.errors import ConfigError, ImageError, RetrievalError
from glocal.extract.messages import Arrays, pack
from glocal.extract.requests import PIXELS_ONLY, arrays_of
from glocal.extract.turning import turn, upright
from glocal.models.catalogue import build_classical
from glocal.ops.coordinates import clip_box
from glocal.protocols import Extractor

MEMORY_LIMIT = 3 << 30
"""Address space in bytes: three times what a picture at the pixel limit needs."""


def _confine(limits: DecodeLimits) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent, which then lets us finish
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY_LIMIT, MEMORY_LIMIT))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    Image.MAX_IMAGE_PIXELS = limits.max_pixels
    cv2.setNumThreads(1)


def _answer(request: dict[str, Any], model: Extractor | None, limits: DecodeLimits) -> tuple[dict[str, Any], Arrays]:
    path = os.fsencode(request["path"])
    started = time.perf_counter()
    data: bytes | None = request.get("data")
    if model is None and request["want"] != "pixels":
        raise ConfigError("this worker only decodes: it has no model to describe a photo")
    if request.get("root") is not None:
        _check_inside(path, os.fsencode(request["root"]))
    file = read_file(path, limits) if data is None else check_bytes(data, limits)
    size, orientation = inspect(file.data, limits)
    box = clip_box(request["box"], size) if request.get("box") else None
    longest = request.get("longest")
    if longest is None:
        longest = 0 if model is None else model.spec.image_size
    photo = decode(file.data, request["path"], longest, limits, box, rule=request.get("rule", "area"))
    decoded = time.perf_counter()
    header: dict[str, Any] = {
        "content_hash": file.content_hash,
        "num_bytes": len(file.data),
        "mtime_ns": file.mtime_ns,
        "size": size,
        "orientation": orientation,
        "box": box,
        "decode_s": decoded - started,
    }
    turns = request.get("turn", 0)
    photo = turn(photo, turns)
    if model is None or request["want"] == "pixels":
        return header, {"pixels": photo.pixels}
    extraction = upright(model.extract(photo), turns)
    header["extract_s"] = time.perf_counter() - decoded
    return header, arrays_of(extraction)


def _check_inside(path: bytes, root: bytes) -> None:
    """The scan follows no links; this is for folders that became links since."""
    folder = os.path.realpath(os.path.dirname(path))
    if not os.path.join(folder, b"").startswith(os.path.join(os.path.realpath(root), b"")):
        raise ImageError("outside_root")


def serve(requests: BinaryIO, answers: BinaryIO, model: Extractor | None, limits: DecodeLimits) -> None:
    """Answer requests until stdin ends."""
    for line in requests:
        request = json.loads(line)
        if request.get("num_bytes") is not None:
            request["data"] = requests.read(request["num_bytes"])
        try:
            message = pack(*_answer(request, model, limits))
        except ImageError as error:
            message = pack({"error": error.code, "detail": error.detail}, {})
        except RetrievalError as error:
            message = pack({"error": "config", "detail": str(error)}, {})
        except MemoryError:
            message = pack({"error": "corrupt", "detail": "damaged: it claims more memory than the limit"}, {})
        except Exception as error:  # noqa: BLE001 - the outermost loop: one bad file must not end the worker
            message = pack({"error": "corrupt", "detail": f"damaged: {type(error).__name__}: {error}"[:200]}, {})
        answers.write(message)
        answers.flush()


def main() -> None:
    """Set the process up, say hello, serve."""
    # Only we may write to the pipe: whatever a library prints goes to /dev/null.
    answers = os.fdopen(os.dup(1), "wb")
    model = None if sys.argv[1] == PIXELS_ONLY else build_classical(sys.argv[1])
    limits = DecodeLimits(**json.loads(sys.argv[2]))
    register_heif()
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.dup2(null, 2)
    _confine(limits)
    hello = None if model is None else json.loads(model.spec.to_json())
    answers.write(pack({"spec": hello, "limits": dataclasses.asdict(limits)}, {}))
    answers.flush()
    serve(sys.stdin.buffer, answers, model, limits)


if __name__ == "__main__":
    main()
