"""icrawler's ImageDownloader with 32 threads: download, open (nothing is decoded), store. No hash, no record.

Run by the environment of the peers: with_icrawler.py ADDRESSES OUT.
"""

from __future__ import annotations

import logging
import sys

from icrawler import Crawler
from icrawler.builtin import UrlListCrawler


def main() -> None:
    """Download the addresses that stand one a line in a file."""
    addresses, out = sys.argv[1:]
    crawler = UrlListCrawler(downloader_threads=32, storage={"root_dir": out}, log_level=logging.CRITICAL)
    # Its own `crawl` would wait five idle seconds at the end; this is the same with one.
    Crawler.crawl(
        crawler,
        feeder_kwargs={"url_list": addresses},
        parser_kwargs={"queue_timeout": 1},
        downloader_kwargs={"max_num": 0, "queue_timeout": 1},
    )


if __name__ == "__main__":
    main()
