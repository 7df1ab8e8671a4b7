"""The picture of a recording: message rates per topic over time, with what was said about it. The only module that imports `matplotlib`.

It is imported where a picture is drawn, and nowhere else: it takes longer to load than all other commands take to run. The same recording gives the
same bytes: settings of the user, dates and chance have no part in it, the time zone has.
"""

import io
import logging
import warnings
from collections.abc import Sequence
from datetime import UTC, datetime
from itertools import cycle
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import EngFormatter, MaxNLocator

from peer.cli.plot_data import NS_PER_S, Annotation, PlotData, Series, shortened

WIDTH = 11.0
ROW_HEIGHT = 0.72
ROWS_HEIGHT_MIN = 2.6
TOP = 1.45
BOTTOM = 0.62
LEGEND_ROW_HEIGHT = 0.19
"""Inches."""
LEFT = 0.085
"""Of the width."""
DOTS_PER_INCH = 120
TITLE_CHARACTERS = 60
TOPIC_CHARACTERS = 90
LABEL_CHARACTERS = 28
LABEL_CHARACTER_WIDTH = 0.0058
"""Of the width of a row."""
LEGEND_COLUMNS = 4
LABELS_MAX = 15
"""Labels of annotations that the legend shows; those of more are written beside their marks only."""
TICKS = 8
MARGIN = 0.02
"""Of the whole time, on either side: what happens at the very start is no part of the frame."""
LARGE = 10_000
"""Rates from here on are written with k or M."""
_TOPIC_COLOUR = "#2f6f9f"
_COLOURS = ("#d1495b", "#66a182", "#e0982c", "#7b4b94", "#00798c", "#8d5a3a", "#c04cb0", "#6b7a1f", "#4050c0", "#707070")
_SETTINGS: tuple[tuple[Any, Any], ...] = (
    ("svg.hashsalt", "recmesh"),
    ("svg.fonttype", "path"),
    ("text.parse_math", False),
    ("font.family", "DejaVu Sans"),
    ("font.size", 8.5),
)


def draw(data: PlotData, form: Literal["png", "svg"]) -> bytes:
    """The picture as a file of this form."""
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    with warnings.catch_warnings(), mpl.rc_context():
        warnings.simplefilter("ignore")  # A character that the font has not is drawn as a box: nothing is lost by it.
        mpl.rcdefaults()
        for name, value in _SETTINGS:
            mpl.rcParams[name] = value
        figure = _figure(data)
        out = io.BytesIO()
        metadata = {"Date": None, "Creator": "recmesh"} if form == "svg" else {"Software": "recmesh"}
        figure.savefig(out, format=form, dpi=DOTS_PER_INCH, metadata=metadata)
        return out.getvalue()


def _figure(data: PlotData) -> Figure:
    count = len(data.series)
    row_height = max(ROW_HEIGHT, ROWS_HEIGHT_MIN / count)
    height = TOP + BOTTOM + LEGEND_ROW_HEIGHT * _legend_rows(data) + row_height * count
    figure = Figure(figsize=(WIDTH, height))
    rows: list[Axes] = list(figure.subplots(count, 1, squeeze=False)[:, 0])
    bottom = (BOTTOM + LEGEND_ROW_HEIGHT * _legend_rows(data)) / height
    colours = _label_colours(data.annotations)
    figure.subplots_adjust(left=LEFT, right=0.965, top=1 - TOP / height, bottom=bottom, hspace=0.62 * ROW_HEIGHT / row_height if count > 1 else 0)
    for axes, series in zip(rows, data.series, strict=True):
        _draw_row(axes, series, data)
        for annotation in data.annotations:
            _mark(axes, annotation, data, colours)
    _label_marks(rows[0], data, colours)
    _draw_times(figure, rows, data)
    title = f"{shortened(data.name, TITLE_CHARACTERS)}: messages per second by topic"
    figure.text(LEFT, 1 - 0.32 / height, title, fontsize=12, fontweight="bold", ha="left", va="center")
    figure.text(LEFT, 1 - 0.56 / height, data.subtitle, fontsize=8.5, color="#555555", ha="left", va="center")
    figure.supylabel("messages per second", fontsize=8.5, x=0.014, y=(bottom + 1 - TOP / height) / 2)
    _draw_legend(figure, data, colours)
    return figure


def _draw_row(axes: Axes, series: Series, data: PlotData) -> None:
    rates = [count / data.bin_s for count in series.counts]
    edges = [number * data.bin_s for number in range(data.bins + 1)]
    axes.stairs(rates, edges, fill=True, color=_TOPIC_COLOUR, alpha=0.35, linewidth=0)
    axes.stairs(rates, edges, color=_TOPIC_COLOUR, linewidth=0.9)
    axes.set_ylim(0, max(rates, default=0) * 1.12 or 1)
    axes.set_xlim(-MARGIN * data.seconds, (1 + MARGIN) * data.seconds)
    axes.yaxis.set_major_locator(MaxNLocator(2, steps=[1, 2, 5, 10], min_n_ticks=2))
    large = EngFormatter(sep="")
    axes.yaxis.set_major_formatter(lambda rate, _position: f"{rate:g}" if rate < LARGE else large(rate))
    axes.tick_params(axis="y", labelsize=7)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(visible=True, axis="x", color="#dddddd", linewidth=0.5)
    axes.set_axisbelow(True)
    messages = "1 message" if series.total == 1 else f"{series.total} messages"
    name = f"{shortened(series.topic, TOPIC_CHARACTERS)}   ({messages})"
    axes.annotate(name, (0, 1), (0, 3), xycoords="axes fraction", textcoords="offset points", fontsize=8, ha="left", va="bottom")


def _mark(axes: Axes, annotation: Annotation, data: PlotData, colours: dict[str, str]) -> None:
    """A span is shaded, a point is a line. What lies outside of the recording is marked at its edge."""
    start_s = annotation.start_s
    if start_s is None:
        return
    colour = colours[annotation.label]
    if annotation.end_s is None or annotation.end_s <= start_s:
        axes.axvline(_within(start_s, data), color=colour, linewidth=1.0, linestyle="-" if 0 <= start_s <= data.seconds else ":")
    else:
        axes.axvspan(_within(start_s, data), _within(annotation.end_s, data), color=colour, alpha=0.2, linewidth=0)


def _within(time_s: float, data: PlotData) -> float:
    return min(max(time_s, -MARGIN * data.seconds), (1 + MARGIN) * data.seconds)


def _label_marks(axes: Axes, data: PlotData, colours: dict[str, str]) -> None:
    """The labels of annotations above the first row: as many as there is room for beside each other. The legend has all."""
    free_from = 0.0
    for annotation in sorted((each for each in data.annotations if each.start_s is not None), key=lambda each: each.start_s or 0):
        text = shortened(annotation.label, LABEL_CHARACTERS)
        width = LABEL_CHARACTER_WIDTH * (len(text) + 2)
        place = (_within(annotation.start_s or 0, data) / data.seconds + MARGIN) / (1 + 2 * MARGIN)
        place = min(max(place, 0), 1 - width)
        if place < free_from:
            continue
        free_from = place + width
        axes.annotate(
            text, (place, 1), (0, 17), xycoords="axes fraction", textcoords="offset points", fontsize=7, color=colours[annotation.label], va="bottom"
        )


def _draw_times(figure: Figure, rows: Sequence[Axes], data: PlotData) -> None:
    """Seconds from the start below, local time above."""
    for axes in rows:
        axes.xaxis.set_major_locator(MaxNLocator(TICKS, steps=[1, 2, 5, 10]))
        axes.tick_params(axis="x", labelbottom=axes is rows[-1])
    rows[-1].set_xlabel("seconds from the start", fontsize=8.5)
    rows[-1].xaxis.set_major_formatter(lambda seconds, _position: f"{seconds:.6g}")
    above = rows[0].secondary_xaxis("top")
    above.patch.set_visible(False)
    above.xaxis.set_major_locator(MaxNLocator(TICKS, steps=[1, 2, 5, 10]))
    above.xaxis.set_major_formatter(lambda seconds, _position: _clock(data, float(seconds)))
    above.tick_params(axis="x", labelsize=7.5, pad=27, length=0)
    above.spines["top"].set_visible(False)
    start = datetime.fromtimestamp(data.start_ns // NS_PER_S, UTC).astimezone()
    above.set_xlabel(f"local time on {start:%Y-%m-%d} ({start:%Z})", fontsize=8, labelpad=3)
    figure.align_ylabels(list(rows))


def _clock(data: PlotData, seconds: float) -> str:
    """What the clock on this wall showed so many seconds after the start, as exactly as ticks are apart."""
    whole, fraction_ns = divmod(data.start_ns + round(seconds * NS_PER_S), NS_PER_S)
    moment = datetime.fromtimestamp(whole, UTC).astimezone()
    digits = 0 if data.seconds > 2 * TICKS else 3 if data.seconds > 0.01 else 6 if data.seconds > 1e-5 else 9  # noqa: PLR2004  (ticks apart)
    fraction = f".{fraction_ns:09}"[: 1 + digits] if digits else ""
    is_next_day = moment.date() != datetime.fromtimestamp(data.start_ns // NS_PER_S, UTC).astimezone().date()
    return f"{moment:%m-%d }{moment:%H:%M:%S}{fraction}" if is_next_day else f"{moment:%H:%M:%S}{fraction}"


def _label_colours(annotations: Sequence[Annotation]) -> dict[str, str]:
    labels = sorted({annotation.label for annotation in annotations if annotation.start_s is not None})
    return dict(zip(labels, cycle(_COLOURS), strict=False))


def _legend_rows(data: PlotData) -> int:
    return -(-(1 + min(LABELS_MAX, len(_label_colours(data.annotations)))) // LEGEND_COLUMNS)


def _draw_legend(figure: Figure, data: PlotData, colours: dict[str, str]) -> None:
    bins = "1 bin" if data.bins == 1 else f"{data.bins} bins"
    entries = [Patch(facecolor=_TOPIC_COLOUR, alpha=0.45, label=f"messages, counted in {bins} of {data.bin_text}")]
    for label, colour in list(colours.items())[:LABELS_MAX]:
        entries.append(Patch(facecolor=colour, alpha=0.35, edgecolor=colour, label=shortened(label, LABEL_CHARACTERS)))
    figure.legend(handles=entries, loc="lower center", ncols=LEGEND_COLUMNS, fontsize=7.5, frameon=False)
