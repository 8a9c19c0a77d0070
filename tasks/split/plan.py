"""How many groups of each kind go to each side, so that images, not groups, come out as the recipe wants.

Owns the arithmetic: reads counts, returns counts. What goes where in particular is not decided here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tasks.core.errors import DataError
from tasks.split.sides import Side

Signature = tuple[tuple[str, int], ...]
"""What a group holds: class and number of images, sorted. Groups of one signature are interchangeable."""

Plan = dict[Signature, list[int]]
"""Signature to the number of its groups on each side."""

_ROUNDING = 1e-6  # images: 0.7 * 10 is not quite 7


def plan_counts(
    available: Mapping[Signature, int], sides: Sequence[Side], held: Mapping[str, Sequence[int]] | None = None
) -> Plan:
    """Return how many groups of each signature go to each side.

    First every class gets a group on each side where it has no image, small ones, so that little is fixed beforehand.
    Then the rest is dealt from the largest groups to the smallest: small groups, last, even out what large ones left.
    Groups of one class and size are shared out at once, by largest remainder; so a million single images cost what
    one does.

    Args:
        available: signature to the number of its groups.
        sides: from the strongest to the weakest.
        held: class to its images that stand on each side already and stay there.

    Raises:
        DataError: a class has no group left for one of the sides.
    """
    dealt = _Dealt(available, sides, held or {})
    dealt.cover()
    for signature in sorted(available, key=lambda signature: (-len(signature), -_images(signature), signature)):
        if len(signature) == 1:
            dealt.share_out(signature)
        while dealt.left[signature]:
            dealt.take(signature, dealt.lagging(signature))
    return dealt.plan


def _images(signature: Signature) -> int:
    return sum(count for _, count in signature)


class _Dealt:
    """Groups dealt so far, and what each class has on each side."""

    def __init__(
        self, available: Mapping[Signature, int], sides: Sequence[Side], held: Mapping[str, Sequence[int]]
    ) -> None:
        self.sides, self.shares = sides, [side.share for side in sides]
        self.left = dict(available)
        self.plan: Plan = {signature: [0] * len(sides) for signature in available}
        self.kinds: dict[str, list[Signature]] = {label: [] for label in held}  # of each class, small ones first
        for signature in sorted(available, key=lambda signature: (len(signature), _images(signature), signature)):
            for label, _ in signature:
                self.kinds.setdefault(label, []).append(signature)
        self.images = {label: list(held.get(label) or [0] * len(sides)) for label in self.kinds}
        self.reach = {label: sum(images) for label, images in self.images.items()}  # images dealt so far
        self.totals = dict(self.reach)
        for signature, groups in available.items():
            for label, count in signature:
                self.totals[label] += groups * count

    def cover(self) -> None:
        """Give every class a group on each side where it has none, the class with the fewest groups first."""
        groups = {label: sum(self.left[kind] for kind in kinds) for label, kinds in self.kinds.items()}
        for label in sorted(groups, key=lambda label: (groups[label], label)):
            for number in range(len(self.sides)):
                if not self.images[label][number]:
                    self.take(self._smallest(label, number), number)

    def share_out(self, signature: Signature) -> None:
        """Deal most groups of a signature of one class at once, in proportion to what each side lacks.

        At the most as many groups as there are sides are left over.
        """
        ((label, size),) = signature
        groups = self.left[signature]
        reach = self.reach[label] + groups * size
        lacks = [max(0.0, share * reach - have) for share, have in zip(self.shares, self.images[label], strict=True)]
        for number, lack in enumerate(lacks):
            self.take(signature, number, groups=int(groups * lack / sum(lacks)) if groups else 0)

    def take(self, signature: Signature, number: int, *, groups: int = 1) -> None:
        self.left[signature] -= groups
        self.plan[signature][number] += groups
        for label, count in signature:
            self.images[label][number] += count * groups
            self.reach[label] += count * groups

    def lagging(self, signature: Signature) -> int:
        """Return the side to which one more group goes: of those it fits into, the one that lags most so far.

        It brings the shares nearest to what is wanted: the squared error, summed over classes, falls most there.
        Where a group fits nowhere, it goes where most images are lacking in the end.
        """
        lag, room = [0.0] * len(self.sides), [0.0] * len(self.sides)
        fits = [True] * len(self.sides)
        for label, count in signature:
            have, total = self.images[label], self.totals[label]
            weight, reach = count / total**2, self.reach[label] + count
            for number, share in enumerate(self.shares):
                lag[number] += weight * (share * reach - have[number])
                room[number] += weight * (share * total - have[number])
                fits[number] &= have[number] + count <= share * total + _ROUNDING
        fitting = [number for number, fit in enumerate(fits) if fit]
        return max(fitting, key=lag.__getitem__) if fitting else max(range(len(room)), key=room.__getitem__)

    def _smallest(self, label: str, number: int) -> Signature:
        """Return the signature of the smallest group left for this class, one of its own if there is one."""
        for signature in self.kinds[label]:
            if self.left[signature]:
                return signature
        counts = ", ".join(f"{have} in {side}" for side, have in zip(self.sides, self.images[label], strict=True))
        raise DataError(
            f"Class {label} cannot be split: no group of it is left for {self.sides[number]}.",
            received=f"Its images: {counts}. They stay where they were in an earlier version, or are tied to images "
            "of other classes.",
            hint="Give this class more observations of its own; or set another `seed`, which deals all images anew.",
        )
