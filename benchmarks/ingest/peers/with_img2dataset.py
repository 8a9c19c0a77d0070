"""img2dataset as leanly as it can do the work: download, decode, SHA-256, original bytes stored, JSON and Parquet.

Run by the environment of the peers: with_img2dataset.py ADDRESSES OUT PROCESSES THREADS [exif]. Its check of
X-Robots-Tag is on as by default; resizing and re-encoding are off, and reading EXIF, its default too, unless asked for.
"""

from __future__ import annotations

import sys
from pathlib import Path

from img2dataset import download


def main() -> None:
    """Download the addresses that stand one a line in a file. Each process gets one shard: no idle end, no restart."""
    addresses, out, processes, threads, *exif = sys.argv[1:]
    count = len(Path(addresses).read_text(encoding="utf-8").split())
    download(
        url_list=addresses,
        output_folder=out,
        processes_count=int(processes),
        thread_count=int(threads),
        resize_mode="no",
        skip_reencode=True,
        extract_exif=bool(exif),
        compute_hash="sha256",
        output_format="files",
        number_sample_per_shard=max(-(-count // int(processes)), 2),
    )


if __name__ == "__main__":
    main()
