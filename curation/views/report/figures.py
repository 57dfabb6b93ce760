"""Charts as Plotly reads them: plain data with named colours, which the page replaces for light or dark display.

Plotly interprets some HTML in its texts, so every text that comes from data is escaped.
"""

from collections import Counter
from html import escape
from typing import TYPE_CHECKING, Any

from curation.counts import counted
from curation.recipe.thresholds import Threshold, number_text
from curation.selection.funnel import BALANCE_UNDECIDED, NEAR_UNDECIDED, Funnel, FunnelStep
from curation.views.report.histograms import ALL, FAILS, OTHERS, PASSES, PredicateHistogram
from curation.views.report.wording import COLOURS, share

if TYPE_CHECKING:
    from curation.views.report.balance import BalanceSection


Figure = dict[str, Any]


_CLASSES = {PASSES: "kept", FAILS: "dropped", OTHERS: "gone", ALL: "all"}
_SIGNS = {">=": "≥", ">": ">", "<=": "≤", "<": "<"}


_STEPS = {
    "failed": "failed: not readable",
    "gone": "gone from the source",
    "dropped": "dropped by {}",
    "undecided": "undecided by {}",
    "duplicate": "duplicate: {}",
    "balance": "balanced away",
}
_WAITING = {NEAR_UNDECIDED: "undecided: duplicates", BALANCE_UNDECIDED: "undecided: balance"}


def funnel_steps(funnel: Funnel, gone: int) -> list[tuple[FunnelStep, str]]:
    """Returns the steps that take rows away, in order, each with a text for it.

    Args:
        funnel: numbers of rows by fate.
        gone: number of the failed rows whose image is gone from the source; they become a step of their own.
    """
    failed, *steps = funnel.steps()
    unreadable = FunnelStep("failed", "", failed.rows - gone, failed.left + gone)
    steps = [unreadable, FunnelStep("gone", "", gone, failed.left), *steps]
    return [
        (step, _WAITING.get(step.name) or _STEPS[step.kind].format(step.name))
        for step in steps
        if step.rows or step.kind != "balance"
    ]


def funnel_figure(funnel: Funnel, gone: int) -> Figure:
    """Draws the funnel: for each step a bar of the rows that it removes, to the right of those that are left."""
    bars = [("all images", "kept", 0, funnel.input)]
    bars += [(text, step.kind, step.left, step.rows) for step, text in funnel_steps(funnel, gone)]
    bars.append(("kept", "kept", 0, funnel.kept))
    total = max(1, funnel.input)
    trace = {
        "type": "bar",
        "orientation": "h",
        "y": [escape(text) for text, *_ in bars],
        "base": [base for _, _, base, _ in bars],
        "x": [count for *_, count in bars],
        "text": [f"{count:,}" for *_, count in bars],
        "textposition": "outside",
        "cliponaxis": False,
        "marker": {"color": [COLOURS[kind] for _, kind, _, _ in bars]},
        "hovertext": [f"{escape(text)}: {count:,} ({share(count, total)})" for text, _, _, count in bars],
        "hoverinfo": "text",
    }
    layout = {
        "height": 70 + 30 * len(bars),
        "margin": {"l": 8, "r": 70, "t": 8, "b": 40},
        "yaxis": {"autorange": "reversed", "automargin": True, "ticksuffix": "  ", "showgrid": False},
        "xaxis": {"title": {"text": "images"}, "rangemode": "tozero", "tickformat": ",d", "nticks": 6},
        "bargap": 0.25,
    }
    return {"data": [trace], "layout": layout}


def balance_figure(balance: "BalanceSection") -> Figure:
    """Draws one bar for each of the largest groups: the images that stay, and those that balancing removes."""
    names = [escape(group.name) for group in balance.groups]
    stays, goes = [g.after for g in balance.groups], [g.before - g.after for g in balance.groups]
    data = [
        {
            "type": "bar",
            "orientation": "h",
            "name": name,
            "y": list(range(len(names))),
            "x": counts,
            "marker": {"color": COLOURS[role]},
            "hovertext": [f"{n}: {g.before:,} → {g.after:,}" for n, g in zip(names, balance.groups, strict=True)],
            "hoverinfo": "text",
        }
        for name, role, counts in (("kept", "kept", stays), ("balanced away", "balance", goes))
    ]
    layout = {
        "barmode": "stack",
        "height": 100 + 24 * len(names),
        "margin": {"l": 8, "r": 30, "t": 8, "b": 40},
        "showlegend": True,
        "legend": {"orientation": "h", "y": 1.0, "yanchor": "bottom", "x": 0, "traceorder": "normal"},
        "yaxis": {
            "autorange": "reversed", "automargin": True, "ticksuffix": "  ", "showgrid": False,
            "tickvals": list(range(len(names))), "ticktext": names,
        },
        "xaxis": {"title": {"text": "images"}, "rangemode": "tozero", "tickformat": ",d", "nticks": 6},
        "bargap": 0.25,
    }  # fmt: skip
    return {"data": data, "layout": layout}


def histogram_figure(histogram: PredicateHistogram, thresholds: list[Threshold], small: bool = False) -> Figure:
    """Draws a histogram: one bar for each bin, stacked by class, with a line at each threshold."""
    data = []
    for name, role in _CLASSES.items():
        counts = histogram.counts.get(name, {})
        if counts:
            # The legend looks like the first bar, so that inner bins precede the outer ones.
            bins = sorted(counts, key=lambda bin: (not 0 <= bin < histogram.bins, bin))
            data.append(
                {
                    "type": "bar",
                    "name": name,
                    "x": [float(f"{histogram.centre(bin):.9g}") for bin in bins],
                    "width": histogram.width,
                    "y": [counts[bin] for bin in bins],
                    "marker": {
                        "color": COLOURS[role],
                        "line": {"width": 0},
                        "pattern": {"shape": ["" if 0 <= bin < histogram.bins else "/" for bin in bins]},
                    },
                    "hovertext": [
                        f"{histogram.says(bin)}: {counted(int(counts[bin]), 'images')}, {name}" for bin in bins
                    ],
                    "hoverinfo": "text",
                }
            )
    lines = [t for t in thresholds if histogram.shows(t)]
    layout = {
        "barmode": "stack",
        "bargap": 0,
        "height": 170 if small else 290,
        "margin": {"l": 56, "r": 12, "t": 12 if small or not lines else 26, "b": 34 if small else 44},
        "showlegend": len(data) > 1,
        "legend": {"orientation": "h", "y": -0.2, "x": 0},
        "xaxis": {
            "nticks": 5 if small else 8,
            "zeroline": False,
            "tickangle": 0,
            "exponentformat": "SI" if histogram.most >= 1e4 else "power",
        },
        "yaxis": {"title": {"text": "" if small else "images"}, "rangemode": "tozero"} | _count_ticks(histogram),
        "shapes": [
            {"type": "line", "xref": "x", "yref": "paper", "x0": t.value, "x1": t.value, "y0": 0, "y1": 1}
            for t in lines
        ],
        "annotations": [
            {
                "x": t.value,
                "y": 1,
                "yref": "paper",
                "yanchor": "bottom",
                "showarrow": False,
                "text": f"passes: {escape(_SIGNS[t.operator])} {number_text(t.value)}",
            }
            for t in lines
        ],
    }
    return {"data": data, "layout": layout}


def _count_ticks(histogram: PredicateHistogram) -> Figure:
    """Returns the tick settings of an axis of counts: `20k` for 20,000, and no fractions of an image."""
    bins = Counter[int]()
    for counts in histogram.counts.values():
        bins.update(counts)
    return {"tickformat": "~s", "nticks": 5} if max(bins.values(), default=0) > 5 else {"tickformat": "d", "dtick": 1}
