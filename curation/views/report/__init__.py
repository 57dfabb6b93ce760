"""`curate report`: one page that shows what the recipe makes of the corpus, in counts, charts and pictures."""

import time
from pathlib import Path

from curation.models.environment import versions
from curation.scoring.opened import Opened
from curation.selection.stage import Selection
from curation.views.report.balance import balance_of
from curation.views.report.copies import kinds_of_copies
from curation.views.report.failures import failures
from curation.views.report.fates import Fates
from curation.views.report.figures import balance_figure, funnel_figure, funnel_steps, histogram_figure
from curation.views.report.page import render
from curation.views.report.pictures import Gallery
from curation.views.report.progress import next_command, stages, stored_selection
from curation.views.report.steps import SHEET, other_histograms, steps
from curation.views.report.texts import captions
from curation.views.report.voting import voting
from curation.workspace.files import write_text
from curation.workspace.run_log import runs


def write_report(opened: Opened) -> Path:
    """Writes `report/index.html` in the workspace, from whatever stages have run; returns its path.

    The counts are those of the recipe as it stands, computed anew from the stored signals, whether or not the stored
    selection was made by this recipe.

    Raises:
        UserError: a predicate is not admitted, or nothing is indexed.
        StageError: a sidecar does not fit its samples file, a stage is writing, or the page cannot be written.
    """
    selection, recipe = Selection(opened), opened.recipe
    fates = Fates(selection)
    gallery = Gallery(opened, selection.shards, selection.files, fates.place)
    walked = steps(fates, gallery)
    failed = failures(fates, gallery)
    texts = captions(fates, gallery)
    votes = voting(fates, gallery)
    copies = kinds_of_copies(fates, gallery)
    balanced = balance_of(fates, gallery)
    others = other_histograms(fates, {h.column for step in walked for h in step.histograms})
    kept = gallery.sheet("Kept", fates.sample(fates.numbers == fates.kept, SHEET), fates.funnel.kept)
    gallery.load()
    gone = failed.statuses["gone"]
    figures = {"funnel": funnel_figure(fates.funnel, gone)}
    if balanced:
        figures["balance"] = balance_figure(balanced)
    for step in walked:
        for h in step.histograms:
            figures[f"{step.predicate.name}-{h.column}"] = histogram_figure(
                h, [t for t in step.thresholds if t.column == h.column]
            )
    figures |= {f"other-{h.column}": histogram_figure(h, [], small=True) for h in others if h.known}
    corpora = [
        (corpus, sum(name == corpus.name for name, _ in selection.shards), _rows_of(fates, corpus.name))
        for corpus in recipe.corpora
    ]
    done = stages(fates, failed.signals, texts.of_kept if texts.made else None, votes.images if votes else 0)
    html = render(
        recipe=recipe,
        now=time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
        versions=versions(),
        corpora=corpora,
        funnel=fates.funnel,
        gone=gone,
        funnel_steps=funnel_steps(fates.funnel, gone),
        stored=stored_selection(fates),
        stages=done,
        next_command=next_command(done),
        steps=walked,
        others=others,
        kept=kept,
        kinds=copies,
        balance=balanced,
        captions=texts,
        failures=failed,
        votes=votes,
        runs=runs(selection.workspace),
        figures=figures,
        left_out=gallery.left_out,
    )
    path = selection.workspace.root / "report" / "index.html"
    write_text(path, html)
    return path


def _rows_of(fates: Fates, corpus: str) -> int:
    """Returns the number of rows of one corpus."""
    sizes = zip(fates.selection.shards, (fates.starts[1:] - fates.starts[:-1]).tolist(), strict=True)
    return sum(size for (name, _), size in sizes if name == corpus)
