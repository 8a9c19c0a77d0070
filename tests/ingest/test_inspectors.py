from __future__ import annotations

import io
import os
import struct
import subprocess
import sys
import threading
import time
import warnings
from pathlib import Path

import pytest
from PIL import Image

from tasks.ingest.inspect import inspect
from tasks.ingest.inspectors import AT_ONCE, LARGE, Inspectors, hush_pillow

ROOT = Path(__file__).resolve().parents[2]


def test_large_images_wait_for_room_in_their_order_and_others_for_none() -> None:
    inspectors = Inspectors()
    began: list[str] = []
    leave = threading.Event()

    def decode(name: str, pixels: int) -> None:
        with inspectors.room(pixels):
            began.append(name)
            leave.wait(10)

    threads = [
        threading.Thread(target=decode, args=named)
        for named in [("first", AT_ONCE // 2), ("huge", AT_ONCE * 2), ("third", AT_ONCE // 4), ("small", LARGE)]
    ]
    for thread in threads:
        thread.start()
        time.sleep(0.1)
    assert began == ["first", "small"]
    leave.set()
    for thread in threads:
        thread.join(10)
    assert began == ["first", "small", "huge", "third"]


def test_room_is_given_back_by_images_that_cannot_be_decoded() -> None:
    inspectors = Inspectors()
    with pytest.raises(ValueError, match="broken"), inspectors.room(AT_ONCE):
        raise ValueError("broken")
    got = threading.Event()

    def decode() -> None:
        with inspectors.room(AT_ONCE):
            got.set()

    threading.Thread(target=decode, daemon=True).start()
    assert got.wait(5)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="this system pins no process to a core")
def test_there_are_as_many_as_this_process_may_use_cores() -> None:
    code = (
        "import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1]);"
        "from tasks.ingest.inspectors import THREADS; print(THREADS)"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout == "1\n"


def test_pillows_remarks_do_not_turn_into_refusals() -> None:
    buffer = io.BytesIO()
    Image.linear_gradient("L").save(buffer, "TIFF")
    planes = struct.pack("<HHI", 284, 3, 1)  # one value of tag 284; ten thousand are more than the file holds
    body = buffer.getvalue().replace(planes, struct.pack("<HHI", 284, 3, 10_000))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        hush_pillow()
        once = list(warnings.filters)
        hush_pillow()
        assert list(warnings.filters) == once
        assert inspect(body, min_side=1, max_pixels=10**8).format == "TIFF"
