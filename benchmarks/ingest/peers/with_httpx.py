"""What one writes in an afternoon: httpx, 64 requests at once; SHA-256, a full Pillow load, a file, a line of JSON.

Run by the environment of the peers: with_httpx.py ADDRESSES OUT. No retries, no manners, no limits.
"""

from __future__ import annotations

import asyncio
import hashlib
import io
import json
import sys
from pathlib import Path

import httpx
from PIL import Image

_AT_ONCE = 64


def judge(url: str, body: bytes, out: Path) -> str:
    """Decode and store one image; return its line of the record."""
    sha256 = hashlib.sha256(body).hexdigest()
    with Image.open(io.BytesIO(body)) as image:
        image.load()
        size = image.size
    (out / f"{sha256}.jpg").write_bytes(body)
    return json.dumps({"url": url, "sha256": sha256, "size": size}) + "\n"


async def download(addresses: list[str], out: Path) -> None:
    """Download all addresses."""
    turns = asyncio.Semaphore(_AT_ONCE)
    limits = httpx.Limits(max_connections=_AT_ONCE, max_keepalive_connections=_AT_ONCE)
    with (out / "record.jsonl").open("w", encoding="utf-8") as record:
        async with httpx.AsyncClient(limits=limits) as client, asyncio.TaskGroup() as group:

            async def one(url: str) -> None:
                async with turns:
                    answer = (await client.get(url)).raise_for_status()
                    record.write(await asyncio.to_thread(judge, url, answer.content, out))

            for url in addresses:
                group.create_task(one(url))


def main() -> None:
    """Download the addresses that stand one a line in a file."""
    out = Path(sys.argv[2])
    out.mkdir(parents=True)
    asyncio.run(download(Path(sys.argv[1]).read_text(encoding="utf-8").split(), out))


if __name__ == "__main__":
    main()
