"""Where everything lies: the one place that knows the folders of a workspace.

images/ab/abcdef….jpg                 every original once, named by its SHA-256
collections/<recipe>/                 candidates/ ledger/ batches/ verdicts/
datasets/<recipe>/<version>/          manifest.parquet train/ val/ test/
prepared/ features/ searches/ fits/   one folder per fingerprint
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

EXTENSIONS = {
    "JPEG": "jpg",
    "MPO": "jpg",
    "PNG": "png",
    "GIF": "gif",
    "WEBP": "webp",
    "TIFF": "tif",
    "BMP": "bmp",
    "AVIF": "avif",
    "JPEG2000": "jp2",
}


@dataclass(frozen=True)
class Workspace:
    """A folder that holds all that Harvestman keeps."""

    root: Path

    @property
    def images(self) -> Path:
        """The image store."""
        return self.root / "images"

    def image(self, sha256: str, image_format: str) -> Path:
        """Where the image with this SHA-256 and Pillow format name lies."""
        return self.images / sha256[:2] / f"{sha256}.{EXTENSIONS.get(image_format, image_format.lower())}"

    def collection(self, recipe: str) -> Path:
        """What has been collected for a recipe."""
        return self.root / "collections" / recipe

    @property
    def spent(self) -> Path:
        """What has been spent of the sites' budgets, by all processes together."""
        return self.root / "spent.sqlite"

    def datasets(self, recipe: str) -> Path:
        """All data set versions of a recipe."""
        return self.root / "datasets" / recipe

    def latest(self, recipe: str) -> Path:
        """What stands at the end of each stage of a recipe: its newest data set and model."""
        return self.root / "latest" / f"{recipe}.json"

    def prepared(self, key: str) -> Path:
        """Resized images by fingerprint."""
        return self.root / "prepared" / key

    def features(self, key: str) -> Path:
        """Backbone features by fingerprint."""
        return self.root / "features" / key

    def search(self, key: str) -> Path:
        """A hyperparameter search and its trials, by fingerprint."""
        return self.root / "searches" / key

    def fit(self, key: str) -> Path:
        """The fitted winner of a search with its predictions, by fingerprint."""
        return self.root / "fits" / key
