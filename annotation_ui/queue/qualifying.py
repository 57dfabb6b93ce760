"""The entry test: who is new to a project is given gold items alone, until enough of them are answered rightly."""

from typing import Any

from sqlalchemy import Connection, bindparam, func, insert, literal_column, select, update

from annotation_ui.database.tables import GOLD, LEASED, RETRACTED, VOTED, items, qualifications, slots
from annotation_ui.queue.rules import Rules

TESTING, PASSED, FAILED = "testing", "passed", "failed"


def state_of(connection: Connection, rules: Rules, project_id: int, person_id: int) -> str:
    """Returns how a person stands in the entry test: testing, passed or failed; passed if the project has none."""
    if not rules.qualify_items:
        return PASSED
    given = {"project": project_id, "person": person_id}
    state = connection.execute(_STATE, given).scalar_one_or_none()
    if state is None:
        connection.execute(insert(qualifications), {"project_id": project_id, "person_id": person_id, "state": TESTING})
    return state or TESTING


def remaining(connection: Connection, rules: Rules, project_id: int, person_id: int) -> int:
    """Returns how many gold items a person who is being tested must still be given, beside those held now."""
    given = connection.execute(_GIVEN, {"project": project_id, "person": person_id}).scalar_one()
    return rules.qualify_items - given


def count(
    connection: Connection, rules: Rules, project_id: int, person_id: int, correct: int, answered: int
) -> str | None:
    """Counts an answer of the entry test; returns passed or failed if it was the last one, otherwise None.

    Args:
        correct, answered: what is added to the counts; -1 where a change takes an earlier answer back.
    """
    if not rules.qualify_items:
        return None
    values = {"the_project": project_id, "the_person": person_id, "more_correct": correct, "more_answered": answered}
    connection.execute(_COUNT, values)
    row = connection.execute(_COUNTS, {"project": project_id, "person": person_id}).one_or_none()
    if row is None or row.state != TESTING or row.answered < rules.qualify_items:
        return None
    state = PASSED if row.correct >= rules.qualify_pass * row.answered else FAILED
    _set(connection, project_id, person_id, state)
    return state


def level_changed(connection: Connection, gold: Any, known: int) -> None:
    """Counts the answers on a gold item anew, in tests that are not over, after it was given another level.

    Args:
        gold: the item's row as it was before; the transaction has locked the item.
        known: its level now.
    """
    answers = select(slots.c.person_id, slots.c.level).where(slots.c.item_id == gold.id, slots.c.state == VOTED)
    for person_id, level in connection.execute(answers).all():
        if more := (level == known) - (level == gold.known):
            values = {"the_project": gold.project_id, "the_person": person_id, "more_correct": more, "more_answered": 0}
            connection.execute(_COUNT, values)


def let_try_again(connection: Connection, project_id: int, person_id: int) -> None:
    """Lets a person who failed take the entry test again, with gold items that the person has not seen.

    The answers of the failed test are closed: a change of one would count in the new test.
    """
    again = update(qualifications).where(qualifications.c.project_id == project_id)
    again = again.where(qualifications.c.person_id == person_id, qualifications.c.state == FAILED)
    if connection.execute(again.values(state=TESTING, correct=0, answered=0)).rowcount:
        golden = select(items.c.id).where(items.c.project_id == project_id, items.c.kind == GOLD)
        answered = update(slots).where(slots.c.person_id == person_id, slots.c.state == VOTED)
        connection.execute(answered.where(slots.c.item_id.in_(golden)).values(state=RETRACTED, slot=None))


def _set(connection: Connection, project_id: int, person_id: int, state: str) -> None:
    connection.execute(
        update(qualifications)
        .where(qualifications.c.project_id == project_id, qualifications.c.person_id == person_id)
        .values(state=state)
    )


_own = (
    qualifications.c.project_id == bindparam("project"),
    qualifications.c.person_id == bindparam("person"),
)
_STATE = select(qualifications.c.state).where(*_own)
_COUNTS = select(qualifications.c.state, qualifications.c.correct, qualifications.c.answered).where(*_own)
_HELD = (
    select(func.count())
    .select_from(slots)
    .join(items, items.c.id == slots.c.item_id)
    .where(slots.c.person_id == bindparam("person"), slots.c.state == literal_column(f"'{LEASED}'"))
    .where(items.c.project_id == bindparam("project"), items.c.kind == GOLD)
    .scalar_subquery()
)
# One statement sees one state: an answer that is stored meanwhile counts either as held or as answered.
_GIVEN = select(qualifications.c.answered + _HELD).where(*_own)
_COUNT = (
    update(qualifications)
    .where(qualifications.c.project_id == bindparam("the_project"))
    .where(qualifications.c.person_id == bindparam("the_person"), qualifications.c.state == TESTING)
    .values(
        correct=qualifications.c.correct + bindparam("more_correct", type_=qualifications.c.correct.type),
        answered=qualifications.c.answered + bindparam("more_answered", type_=qualifications.c.answered.type),
    )
)
