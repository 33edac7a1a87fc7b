"""The roofline picture: what each kernel reaches, below what the machine can do."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

from .measure import OURS, Measurement, Roofs

STYLES = {  # colour and marker
    OURS: ("#c0392b", "o"),
    "NumPy": ("#7f8c8d", "s"),
    "scikit-learn": ("#e08e0b", "^"),
    "sklearnex": ("#2471a3", "D"),
    "faiss": ("#1e8449", "v"),
}
OTHER = ("#8e44ad", "P")
PLACES = [  # around a point, in points of type; the nearest free place is taken
    (dx * step, dy * step)
    for step in range(8, 120, 8)
    for dx, dy in product((1, -1), (0.5, -0.5, 1.5, -1.5, 3, -3))
]


def roofline(measurements: Sequence[Measurement], roofs: Roofs, file: Path, title: str) -> None:
    """Write a picture with a panel for each dtype and number of threads.

    Parameters
    ----------
    measurements : sequence of Measurement
    roofs : Roofs
        For every dtype and number of threads among them.
    file : Path
        Its suffix says in which format.
    title : str
    """
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    panels = sorted({(one.dtype, one.threads) for one in measurements})
    columns = len({threads for _, threads in panels}) if len(panels) > 2 else len(panels)
    lines = -(-len(panels) // columns)
    figure, axes = pyplot.subplots(
        lines, columns, figsize=(9 * columns, 7 * lines), squeeze=False, sharey=True, layout="constrained"
    )
    figure.suptitle(title)
    named: dict[str, Any] = {}
    for ax, (dtype, threads) in zip(axes.ravel(), panels, strict=False):
        _panel(ax, [one for one in measurements if (one.dtype, one.threads) == (dtype, threads)], roofs, named)
    for ax in axes.ravel()[len(panels) :]:
        ax.remove()
    figure.legend(list(named.values()), list(named), loc="outside lower center", ncols=len(named), frameon=False)
    figure.canvas.draw()
    figure.set_layout_engine("none")  # labels are placed in pixels: nothing may move any more
    for ax, (dtype, threads) in zip(axes.ravel(), panels, strict=False):
        _label(ax, [one for one in measurements if (one.dtype, one.threads) == (dtype, threads)])
    figure.savefig(file, dpi=120)
    pyplot.close(figure)


def _panel(ax: Any, measurements: Sequence[Measurement], roofs: Roofs, named: dict[str, Any]) -> None:
    dtype, threads = measurements[0].dtype, measurements[0].threads
    fma, read = roofs.fma[dtype, threads] / 1e9, roofs.read[threads] / 1e9
    intensities = [one.flops / one.bytes for one in measurements]
    left, right = min([*intensities, fma / read]) / 4, max([*intensities, fma / read]) * 8
    x = np.geomspace(left, right, 200)
    ax.loglog(x, np.minimum(fma, read * x), color="black", linewidth=1.5)
    ax.annotate(f"FMA {fma:.0f} GFLOP/s", (right, fma), (-4, 4), textcoords="offset points", ha="right")
    ax.annotate(
        f"DRAM read {read:.1f} GB/s", (left * 1.2, read * left * 1.2), (4, 4), textcoords="offset points",
        rotation=45, rotation_mode="anchor", transform_rotates_text=True,
    )  # fmt: skip
    for one in measurements:
        for name in reversed(one.seconds):  # ours last, so on top
            color, marker = STYLES.get(name, OTHER)
            size = 9 if name == OURS else 6
            (point,) = ax.plot(
                one.flops / one.bytes, one.flops / one.median(name) / 1e9, marker, color=color, markersize=size,
                markeredgecolor="white", linestyle="none",
            )  # fmt: skip
            named.setdefault(name, point)
    ax.set_xlim(left, right)
    ax.set_ylim(top=fma * 2)
    ax.set_title(f"{dtype}, {threads} thread" + "s" * (threads > 1))
    ax.set_xlabel("FLOP per byte of rows, target and labels")
    ax.set_ylabel("GFLOP/s")
    ax.grid(alpha=0.25, which="both", linewidth=0.5)


def _label(ax: Any, measurements: Sequence[Measurement]) -> None:
    """Name our points, each at the nearest place where nothing is covered."""
    from matplotlib.transforms import Bbox

    renderer = ax.figure.canvas.get_renderer()
    frame = ax.get_window_extent(renderer)
    scale = ax.figure.dpi / 72
    taken = [text.get_window_extent(renderer) for text in ax.texts]
    for one in measurements:
        for name in one.seconds:
            x, y = ax.transData.transform((one.flops / one.bytes, one.flops / one.median(name) / 1e9))
            taken.append(Bbox.from_bounds(x - 4 * scale, y - 4 * scale, 8 * scale, 8 * scale))
    color = STYLES[OURS][0]
    roof = ax.lines[0].get_path().transformed(ax.transData)
    for one in sorted(measurements, key=lambda one: one.flops / one.median(OURS), reverse=True):
        at = (one.flops / one.bytes, one.flops / one.median(OURS) / 1e9)
        text = ax.annotate(
            f"{one.kernel} {one.shape}", at, textcoords="offset points", xytext=(0, 0), fontsize=7, va="center",
            color=color, arrowprops={"arrowstyle": "-", "color": color, "linewidth": 0.5, "alpha": 0.6},
        )  # fmt: skip
        for dx, dy in PLACES:
            text.set_position((dx, dy))
            text.set_ha("left" if dx > 0 else "right")
            box = text.get_window_extent(renderer)
            words = Bbox.from_bounds(*_words(text, renderer))
            inside = frame.contains(words.x0, words.y0) and frame.contains(words.x1, words.y1)
            if inside and not roof.intersects_bbox(words, filled=False) and not words.count_overlaps(taken):
                box = words
                break
        taken.append(box)


def _words(text: Any, renderer: Any) -> tuple[float, float, float, float]:
    """The box of an annotation's words, without its arrow."""
    from matplotlib.text import Text

    text.update_positions(renderer)
    box = Text.get_window_extent(text, renderer)
    return box.x0, box.y0, box.width, box.height
