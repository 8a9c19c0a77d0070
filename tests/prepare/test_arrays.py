from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np

from tasks.prepare.arrays import create_array


def test_the_array_is_on_the_disk_whole(tmp_path: Path) -> None:
    array = create_array(tmp_path / "a.npy", (100, 1000), np.float32)
    assert (tmp_path / "a.npy").stat().st_blocks * 512 >= 400_000
    array[7] = 3
    array.flush()
    assert np.load(tmp_path / "a.npy")[7].tolist() == [3] * 1000


def test_too_little_space_is_told_before_anything_is_written(tmp_path: Path) -> None:
    code = (
        "import resource, signal, sys; from pathlib import Path; import numpy as np\n"
        "from tasks.core.errors import WorkspaceError; from tasks.prepare.arrays import create_array\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))\n"
        "try: create_array(Path(sys.argv[1]), (1000, 1000), np.float32)\n"
        "except WorkspaceError as error: print(error.what)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path / "a.npy")], capture_output=True, text=True, check=True
    )
    assert done.stdout.startswith("The disk is full")
