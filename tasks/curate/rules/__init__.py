"""Why an image is set aside besides damage and duplicates: one rule a file, and the dict that names them.

To add a rule: one file here, one line in `RULES`, its slug in `tasks.core.tables.VERDICT_SLUGS`, its field in
`tasks.curate.config.Rules`, its row in docs/curation-rules.md. Reads tables only; writes nothing.
"""

from __future__ import annotations

import polars as pl

from tasks.curate.config import Rules
from tasks.curate.rules.blank import blank
from tasks.curate.rules.extreme_aspect import extreme_aspect
from tasks.curate.rules.gray import gray
from tasks.curate.rules.over_cap import over_cap
from tasks.curate.rules.placeholder import placeholder
from tasks.curate.rules.rule import Rule
from tasks.curate.rules.too_small import too_small

# In the order in which they are asked: where several hold, the first one is the verdict.
RULES: dict[str, Rule] = {
    "placeholder": placeholder,
    "too-small": too_small,
    "extreme-aspect": extreme_aspect,
    "gray": gray,
    "blank": blank,
}
OVER_CAP = "over-cap"


def apply_rules(rows: pl.DataFrame, config: Rules) -> pl.DataFrame:
    """Add `verdict`, the slug of the first rule that sets a row aside, and `detail`, what it saw; null elsewhere.

    Args:
        rows: see `Rule`. What stands in a column `verdict` already stays as it is, with its `detail`.
        config: the recipe's `curate.rules:` block.
    """
    seen = pl.DataFrame([rule(rows, config).alias(slug) for slug, rule in RULES.items()])
    verdicts = [pl.when(pl.col(slug).is_not_null()).then(pl.lit(slug)) for slug in RULES]
    found = seen.select(pl.coalesce(verdicts).alias("verdict"), pl.coalesce(*RULES).alias("detail"))
    if "verdict" not in rows.columns:
        return rows.with_columns(found)
    settled = rows["verdict"].is_not_null()
    return rows.with_columns(
        pl.when(settled).then(name).otherwise(found[name]).alias(name) for name in ("verdict", "detail")
    )


__all__ = ["OVER_CAP", "RULES", "Rule", "apply_rules", "over_cap"]
