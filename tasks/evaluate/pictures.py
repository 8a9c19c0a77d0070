"""Draws what the figures mean: confusion matrix, figures per class, learning curves, as PNG bytes.

Reads arrays and tables; writes nothing. Uses Matplotlib's objects without pyplot, whose state is shared
by all threads. Sizes are in inches at 100 dots an inch.
"""

from __future__ import annotations

import io

import numpy as np
import polars as pl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from tasks.evaluate.metrics import Counts

DPI = 100
_PERCENT_UP_TO = 16  # classes; beyond, a cell has room for the count only
_COUNT_UP_TO = 45  # classes; beyond, a cell has room for its colour only
_CELL, _SMALL_CELL = 0.42, 0.13  # inches; 202 classes at the larger one would be 76 megapixels and 11 s of drawing
_DARK = 0.55  # row share above which a cell needs white figures
_LONGEST = 28  # characters of a class name before it is cut


def confusion_picture(counts: Counts, labels: list[str]) -> bytes:
    """Draw a confusion matrix: colour = share of the row, figures = images and, where they fit, per cent."""
    number = len(labels)
    side = max(4.5, (_CELL if number <= _COUNT_UP_TO else _SMALL_CELL) * number + 2.5)
    figure = _figure(side + 1.0, side)
    axes = figure.add_subplot()
    totals = counts.sum(axis=1, keepdims=True)
    shares = np.divide(counts, totals, out=np.zeros(counts.shape), where=totals > 0)
    image = axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    _name(axes, labels)
    axes.set_xlabel("predicted")
    axes.set_ylabel("true")
    axes.set_title(f"{int(counts.sum())} images, {int(counts.trace())} right")
    axes.tick_params(labelsize=9 if number <= _COUNT_UP_TO else 7)
    for row, column in zip(*np.nonzero(counts), strict=True) if number <= _COUNT_UP_TO else ():
        count, share = int(counts[row, column]), shares[row, column]
        text = f"{count}\n{share:.0%}" if number <= _PERCENT_UP_TO else f"{count}"
        colour = "white" if share > _DARK else "black"
        axes.text(int(column), int(row), text, ha="center", va="center", fontsize=8, color=colour)
    figure.colorbar(image, ax=axes, label="share of the true class", fraction=0.046)
    return _png(figure)


def class_picture(classes: pl.DataFrame) -> bytes:
    """Draw precision, recall and F1 of each class (`metrics.per_class`), the weakest F1 on top."""
    ordered = classes.sort(["f1", "label"], descending=[True, False])
    figure = _figure(8.0, max(2.5, 0.34 * ordered.height + 1.4))
    axes = figure.add_subplot()
    rows = np.arange(ordered.height)
    axes.barh(rows, ordered["f1"].to_numpy(), color="#c6dbef", label="F1")
    axes.plot(ordered["precision"].to_numpy(), rows, "|", color="#08519c", markersize=10, label="precision")
    axes.plot(ordered["recall"].to_numpy(), rows, "o", color="#d94801", markersize=5, label="recall")
    names = [f"{_short(label)} ({n})" for label, n in ordered.select("label", "n").iter_rows()]
    axes.set_yticks(rows, names, parse_math=False)
    axes.set_xlim(0, 1.02)
    axes.set_xlabel("test split; images of the class in brackets")
    figure.legend(loc="outside upper center", ncols=3, frameon=False)
    return _png(figure)


def curves_picture(history: pl.DataFrame, *, best_epoch: int | None = None) -> bytes:
    """Draw loss, accuracy and macro-F1 over the epochs; phases and the epoch kept are marked.

    Args:
        history: columns phase, epoch, and any of loss, accuracy, macro_f1 with their `val_` twins.
        best_epoch: the epoch whose weights were kept.
    """
    figure = _figure(12.0, 3.8)
    panels = figure.subplots(1, 3)
    for axes, name, title in zip(
        panels, ("loss", "accuracy", "macro_f1"), ("loss", "accuracy", "macro-F1"), strict=True
    ):
        for column, label, style in ((name, "train", "--"), (f"val_{name}", "validation", "-")):
            if column in history.columns:
                axes.plot(history["epoch"].to_numpy(), history[column].to_numpy(), style, marker=".", label=label)
        _mark(axes, history, best_epoch)
        axes.set_title(title)
        axes.set_xlabel("epoch")
        axes.xaxis.get_major_locator().set_params(integer=True)
        if axes.get_legend_handles_labels()[0]:
            axes.legend(fontsize=8)
    return _png(figure)


def _mark(axes: Axes, history: pl.DataFrame, best_epoch: int | None) -> None:
    starts = history.group_by("phase", maintain_order=True).agg(pl.col("epoch").min())
    for index, (phase, start) in enumerate(starts.iter_rows()):
        if index:
            axes.axvline(start - 0.5, color="gray", linewidth=0.8)
            axes.text(start - 0.45, 0.02, str(phase), transform=axes.get_xaxis_transform(), fontsize=8, color="gray")
    if best_epoch is not None:
        axes.axvline(best_epoch, color="green", linestyle=":", linewidth=1.2, label="kept")


def _name(axes: Axes, labels: list[str]) -> None:
    places = np.arange(len(labels))
    names = [_short(label) for label in labels]
    # parse_math=False: a class named a$b$c is no formula.
    axes.set_xticks(places, names, rotation=90, parse_math=False)
    axes.set_yticks(places, names, parse_math=False)


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else label[: _LONGEST - 1] + "…"


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DPI, layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _png(figure: Figure) -> bytes:
    stream = io.BytesIO()
    # Without a Software entry the bytes depend on the figures and the installed fonts alone.
    figure.savefig(stream, format="png", metadata={"Software": None})
    return stream.getvalue()
