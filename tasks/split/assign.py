"""Which group goes to train, val or test: shares planned here, groups dealt by split-folders.

split-folders' `ratio` counts groups whatever their size, rounds down and works class by class. So the number of
groups each split gets is planned here, per signature, and split-folders' `fixed` deals exactly those.
Reads nothing; writes empty placeholder files to a temporary folder that is gone on return.
"""

from __future__ import annotations

import hashlib
import random
import tempfile
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import splitfolders

from tasks.core.errors import DataError
from tasks.core.files import storing
from tasks.split.config import SplitConfig
from tasks.split.groups import Group, Signature

SPLITS = ("train", "val", "test")
_BETWEEN = "_"  # between a placeholder's group and its image; neither contains it

Plan = dict[Signature, Counter[str]]
"""Signature to the number of its groups in each split."""


def assign(groups: Sequence[Group], config: SplitConfig) -> dict[str, str]:
    """Return the split of each image, by its SHA-256.

    Every class has a group in every split; shares of images come as near to the configured ones as whole
    groups allow. The order of `groups` does not count. The same seed puts a group that is still there
    beside a few new ones mostly where it was, because groups are dealt in the order of a keyed hash.

    Raises:
        DataError: groups shared between classes leave a class without any group in one split.
        WorkspaceError: there is no room for the placeholders.
    """
    order = sorted(groups, key=lambda group: _rank(group, config.seed))
    plan = plan_counts(Counter(group.signature for group in order), config)
    bins: dict[Signature, list[Group]] = defaultdict(list)
    for group in order:
        bins[group.signature].append(group)
    splits: dict[str, str] = {}
    with storing(Path(tempfile.gettempdir())), tempfile.TemporaryDirectory(prefix="harvestman-split-") as folder:
        for number, signature in enumerate(sorted(bins)):
            splits |= _deal(bins[signature], plan[signature], Path(folder) / str(number))
    return splits


def _rank(group: Group, seed: int) -> str:
    return hashlib.sha256(f"{seed}:{group.component}".encode()).hexdigest()


def _deal(groups: list[Group], counts: Mapping[str, int], folder: Path) -> dict[str, str]:
    """Let split-folders put `groups`, in this order, into train, val and test.

    It sorts groups by name, so the names carry the order. Its own shuffle stays off: it draws from the global
    random generator, which other threads use too.
    """
    stage = folder / "in" / "groups"
    stage.mkdir(parents=True)
    for place, group in enumerate(groups):
        for image in group.images:
            (stage / f"{place:09d}{_BETWEEN}{image}").touch()
    with _random_state_kept():
        splitfolders.fixed(
            str(folder / "in"),
            output=str(folder / "out"),  # always fresh: a second run into one output would double images
            fixed=tuple(counts[split] for split in SPLITS),
            group=_by_group,
            move=True,
            shuffle=False,
        )
    return {path.name.partition(_BETWEEN)[2]: path.parts[-3] for path in (folder / "out").glob("*/groups/*")}


def _by_group(files: list[Path]) -> list[tuple[Path, ...]]:
    bundles: dict[str, list[Path]] = defaultdict(list)
    for path in sorted(files):
        bundles[path.name.partition(_BETWEEN)[0]].append(path)
    return [tuple(bundle) for bundle in bundles.values()]


@contextmanager
def _random_state_kept() -> Iterator[None]:
    """Undo the reseeding of the global random generator that every call of split-folders does."""
    state = random.getstate()
    try:
        yield
    finally:
        random.setstate(state)


def plan_counts(available: Mapping[Signature, int], config: SplitConfig) -> Plan:
    """Return how many groups of each signature go to each split.

    First every class gets one group in test, val and train, small ones, so that little is fixed beforehand.
    Then the rest is dealt from the largest groups to the smallest, each to the split whose share of the
    images dealt so far lags most; small groups, last, even out what large ones left.
    """
    dealt = _Dealt(available, config)
    for label in sorted(dealt.images, key=lambda label: (dealt.groups(label), label)):
        for split in ("test", "val", "train"):
            if not dealt.images[label][split]:
                dealt.take(dealt.smallest(label), split)
    for signature in sorted(dealt.left, key=lambda signature: (-len(signature), -_images(signature), signature)):
        while dealt.left[signature]:
            dealt.take(signature, dealt.lagging(signature))
    return dealt.plan


def _images(signature: Signature) -> int:
    return sum(count for _, count in signature)


class _Dealt:
    """Groups dealt so far, and what each class has in each split."""

    def __init__(self, available: Mapping[Signature, int], config: SplitConfig) -> None:
        self.left = Counter(available)
        self.shares = dict(zip(SPLITS, (config.train, config.val, config.test), strict=True))
        self.plan: Plan = {signature: Counter() for signature in available}
        self.images: dict[str, Counter[str]] = {label: Counter() for signature in available for label, _ in signature}
        self.totals = Counter[str]()
        for signature, groups in available.items():
            for label, count in signature:
                self.totals[label] += groups * count

    def groups(self, label: str) -> int:
        """Return how many groups of this class are left."""
        return sum(groups for signature, groups in self.left.items() if label in dict(signature))

    def smallest(self, label: str) -> Signature:
        """Return the signature of the smallest group left for this class, one of its own if there is one."""
        fitting = [signature for signature, groups in self.left.items() if groups and label in dict(signature)]
        if not fitting:
            raise DataError(
                f"Class {label} cannot be split: its groups are needed on one side by other classes.",
                received="Observations with images in several classes tie those classes together.",
                hint="Give this class more observations of its own.",
            )
        return min(fitting, key=lambda signature: (len(signature), _images(signature), signature))

    def take(self, signature: Signature, split: str) -> None:
        self.left[signature] -= 1
        self.plan[signature][split] += 1
        for label, count in signature:
            self.images[label][split] += count

    def lagging(self, signature: Signature) -> str:
        """Return the split to which one more group brings all shares nearest to what is wanted."""
        return min(SPLITS, key=lambda split: self._error(signature, split))

    def _error(self, signature: Signature, split: str) -> float:
        """Return the squared error of the shares, summed over classes, if a group went to `split`."""
        error = 0.0
        for label, count in signature:
            got = self.images[label] + Counter({split: count})
            total = got.total()
            error += (
                sum((share * total - got[name]) ** 2 for name, share in self.shares.items()) / self.totals[label] ** 2
            )
        return error
