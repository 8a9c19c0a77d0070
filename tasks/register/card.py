"""The model card: what a model knows, from what it learnt, how well it does.

Reads fit.json and metrics.json of a fit, dataset.json of a data set; writes nothing.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tasks.core.files import read_json
from tasks.register.packing import own_modules

NETWORK = "model.keras"


def model_card(fit: Path, dataset: Path) -> dict[str, Any]:
    """Return the card of the fit: everything a served model needs to know, and a person wants to.

    Keys: labels, image_size, fit, modules (needed by served.py); fit_id, dataset, manifest_digest,
    weights_sha256, overrides, images (by split and class), licences (images by licence), metrics.
    """
    facts, about = read_json(fit / "fit.json"), read_json(dataset / "dataset.json")
    report = fit / "metrics.json"
    return {
        "labels": list(facts["labels"]),
        "image_size": int(facts["image_size"]),
        "fit": str(facts["fit"]),
        "modules": own_modules(fit / NETWORK),
        "fit_id": fit.name,
        "dataset": str(facts["dataset"]),
        "manifest_digest": str(facts["manifest_digest"]),
        "weights_sha256": facts.get("weights_sha256"),
        "overrides": facts.get("overrides") or {},
        "images": about.get("counts", {}),
        "licences": about.get("licences", {}),
        "metrics": read_json(report) if report.exists() else {},
    }


def described(card: dict[str, Any]) -> str:
    """Return the card as the Markdown shown beside a registered version."""
    lines = [f"Classes: {', '.join(card['labels'])}", ""]
    test = card["metrics"].get("test")
    if test:
        figures = f"accuracy {test['accuracy']:.3f}, macro-F1 {test['macro_f1']:.3f}, {test['n']:.0f} images"
        lines += [f"Test split: {figures}", ""]
    lines += [f"Data set version `{card['dataset']}`, manifest digest `{card['manifest_digest']}`", ""]
    if card["licences"]:
        licences = ", ".join(f"{name} {count}" for name, count in sorted(card["licences"].items()))
        lines += [f"Licences of its images: {licences}", ""]
    size, fit = card["image_size"], card["fit"]
    return "\n".join([*lines, f"Input: an image file's bytes; read at {size} x {size} pixels ({fit})."])
