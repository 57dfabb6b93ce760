"""Answers requests of the lead about a project: its progress, how far people agree, and how each works."""

import csv
import io
from collections.abc import Callable
from typing import Any, Literal, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from pydantic import BaseModel
from sqlalchemy import bindparam, select

from annotation_ui.database.tables import projects
from annotation_ui.queue.reviewing import KINDS
from annotation_ui.routes import lead_actions, lead_items, lead_people
from annotation_ui.routes.calling import ERRORS, reading, task_of, tool_of
from annotation_ui.routes.fields import ProjectId
from annotation_ui.routes.lead_calling import PersonQuery, lead_only
from annotation_ui.statistics import agreement as agreeing
from annotation_ui.statistics.annotators import Work, annotators
from annotation_ui.statistics.model import LevelModel, level_model
from annotation_ui.statistics.progress import LevelShare, Pace, Progress, progress
from annotation_ui.worker import run_aside

T = TypeVar("T")
router = APIRouter(prefix="/api/lead", responses=ERRORS, tags=["lead"], dependencies=[Depends(lead_only)])
for part in (lead_actions.router, lead_items.router, lead_people.router):
    router.include_router(part)


class Hours(BaseModel):
    """Number of votes of each hour."""

    first: int
    """The first hour, counted from 1970, UTC."""
    votes: list[int]


class ProjectProgress(BaseModel):
    """How far a project has come."""

    at: int
    """When it was counted, in milliseconds since 1970."""
    paused: bool
    ordering: Literal["random", "level5", "uncertain"]
    votes_per_image: int
    images: dict[str, int]
    """Number of images of each status."""
    asked: int
    cast: int
    left: int
    waiting: dict[str, int]
    """Number of images that wait for each kind of verdict."""
    hours: Hours
    pace: Pace | None
    levels: list[LevelShare]
    model: LevelModel | None
    """How good the model is that predicts levels; null if there is none."""


class Coefficient(BaseModel):
    """A coefficient of agreement with its 95 % interval."""

    value: float
    low: float | None
    high: float | None


class ProjectAgreement(BaseModel):
    """How far people agree; a coefficient is null where it is not defined."""

    at: int
    images: int
    """Number of images with at least two votes."""
    alpha: Coefficient | None
    """Krippendorff's alpha for ordinal values."""
    kappa: Coefficient | None
    """Fleiss' kappa."""


class Confusion(BaseModel):
    """How often a person gave each level (rows) where another gave each level (columns)."""

    counts: list[list[int]]
    agreement: float | None
    """Share of equal pairs of votes, 0 to 1."""


class Worker(lead_people.Listed):
    """A person, and how the person works in a project."""

    work: Work


class Workers(BaseModel):
    """Everybody who takes part."""

    at: int
    people: list[Worker]


@router.get("/projects/{project_id}/progress")
def project_progress(project_id: ProjectId, request: Request) -> ProjectProgress:
    """Tells how far a project has come, as of some seconds ago."""
    task_of(request, project_id)
    settings = reading(request, lambda c, p: c.execute(_PROJECT, {"project": project_id}).one(), role="lead")
    is_random = settings.ordering == "random"
    tool = tool_of(request)
    at, found = _kept(
        request,
        ("progress", project_id, is_random),
        lambda: tool.database.read(lambda c: progress(c, project_id, tool.clock(), is_random)),
    )
    return ProjectProgress(
        at=at,
        paused=settings.paused,
        ordering=settings.ordering,
        votes_per_image=settings.asked,
        waiting={kind: found.images[status] for status, kind in KINDS.items()},
        hours=_hours(found),
        model=level_model(tool.workspace) if tool.tasks[project_id].answer == "level" else None,
        **{name: getattr(found, name) for name in ("images", "asked", "cast", "left", "pace", "levels")},
    )


@router.get("/projects/{project_id}/agreement")
def project_agreement(project_id: ProjectId, request: Request) -> ProjectAgreement:
    """Tells how far people agree, as of up to some minutes ago."""
    task_of(request, project_id)
    database = tool_of(request).database
    at, found = _kept(
        request,
        ("agreement", project_id),
        lambda: run_aside(agreeing.agreement_of, database.read(lambda c: agreeing.patterns(c, project_id))),
    )
    return ProjectAgreement(
        at=at,
        images=found.images,
        alpha=_coefficient(found.alpha, found.alpha_interval),
        kappa=_coefficient(found.kappa, found.kappa_interval),
    )


@router.get("/projects/{project_id}/confusion")
def project_confusion(
    project_id: ProjectId,
    request: Request,
    first: PersonQuery,
    second: PersonQuery | None = None,
) -> Confusion:
    """Compares a person's votes with another's, or with those of all others."""
    task_of(request, project_id)
    counts = agreeing.confusion(_pairs(request, project_id), first, second)
    return Confusion(counts=counts.tolist(), agreement=agreeing.equal_share(counts))


@router.get("/projects/{project_id}/people")
def project_people(project_id: ProjectId, request: Request) -> Workers:
    """Tells how each person works, as of up to some minutes ago; names and roles are those of now."""
    task_of(request, project_id)
    at, work = _work(request, project_id)
    listed = reading(request, lambda c, p: lead_people.everybody(c), role="lead")
    workers = [Worker(**person.model_dump(), work=work.get(person.id, Work())) for person in listed]
    return Workers(at=at, people=workers)


@router.get(
    "/projects/{project_id}/people.csv",
    response_class=Response,
    responses={200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "description": "The table of people."}},
)
def project_people_csv(project_id: ProjectId, request: Request) -> Response:
    """Returns the table of people as CSV, in UTF-8 with a byte order mark, by which Excel knows it."""
    task = task_of(request, project_id)
    table = io.StringIO()
    reasons = [reason.name for reason in task.skip_reasons]
    names = [name for name in Work.__dataclass_fields__ if name != "skips"]
    writer = csv.writer(table)
    writer.writerow(["id", "name", "role", "revoked", *names, *(f"skipped_{reason}" for reason in reasons)])
    for worker in project_people(project_id, request).people:
        cells = [getattr(worker.work, name) for name in names]
        skipped = [worker.work.skips.get(reason, 0) for reason in reasons]
        writer.writerow([worker.id, _cell(worker.name), worker.role, worker.revoked, *cells, *skipped])
    headers = {"Content-Disposition": f'attachment; filename="people-{task.name}.csv"'}
    return Response(table.getvalue().encode("utf-8-sig"), media_type="text/csv; charset=utf-8", headers=headers)


def _cell(text: str) -> str:
    """Returns a text as a spreadsheet shows it, and does not take it for a formula."""
    return f"'{text}" if text[:1] in ("=", "+", "-", "@") else text


def _kept(request: Request, name: tuple[Any, ...], compute: Callable[[], T]) -> tuple[int, T]:
    """Returns a statistic and when it was computed."""
    tool = tool_of(request)
    return tool.statistics.get(name, lambda: (tool.clock(), compute()))


def _pairs(request: Request, project_id: int) -> agreeing.Pairs:
    database = tool_of(request).database
    return _kept(request, ("pairs", project_id), lambda: database.read(lambda c: agreeing.pairs(c, project_id)))[1]


def _work(request: Request, project_id: int) -> tuple[int, dict[int, Work]]:
    pairs = _pairs(request, project_id)  # before: one computation does not wait for another
    database = tool_of(request).database
    return _kept(request, ("work", project_id), lambda: database.read(lambda c: annotators(c, project_id, pairs)))


def _hours(found: Progress) -> Hours:
    if not found.hours:
        return Hours(first=0, votes=[])
    first, last = min(found.hours), max(found.hours)
    return Hours(first=first, votes=[found.hours.get(hour, 0) for hour in range(first, last + 1)])


def _coefficient(value: float | None, interval: tuple[float, float] | None) -> Coefficient | None:
    if value is None:
        return None
    low, high = interval or (None, None)
    return Coefficient(value=value, low=low, high=high)


_PROJECT = select(projects.c.paused, projects.c.ordering, projects.c.asked).where(projects.c.id == bindparam("project"))
