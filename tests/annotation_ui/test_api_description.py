"""The API's description is complete: random requests that follow it and random ones that do not get answers it names."""

from collections.abc import Iterator
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.specs.openapi.checks import positive_data_acceptance, unsupported_method

from annotation_ui.accounts.people import invite
from tests.annotation_ui.team import HOST, Member, Team, make_team, make_workspace

EXAMPLES = 15
"""Requests of each kind that are tried."""
SIGNS_OUT = "/api/sign-out"
NOT_HELD = [
    positive_data_acceptance,  # which fields go together, a level or scores, is told in words: a body may be refused
    unsupported_method,  # what is no JSON is refused before anybody looks at the path
]


@pytest.fixture(scope="module")
def team(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Team]:
    folder = tmp_path_factory.mktemp("api")
    made = make_team(make_workspace(folder, 3), f"sqlite:///{folder / 'votes.db'}")
    made.tool.submits.per_second = made.tool.submits.burst = 10**9
    made.tool.sign_ins.per_second = made.tool.sign_ins.burst = 10**9
    yield made
    made.tool.close()


@pytest.fixture(scope="module")
def lead(team: Team) -> Member:
    token = team.tool.database.write(lambda c: invite(c, team.clock, "li", "lead"))[1]
    return Member(team.app, token)


@pytest.fixture
def api(team: Team, lead: Member) -> Any:
    description = lead.get("/api/openapi.json")
    schema = schemathesis.openapi.from_dict(description)
    schema.app = team.app
    schema.config.base_url = f"http://{HOST}"
    return schema.exclude(path=SIGNS_OUT)


schema = schemathesis.pytest.from_fixture("api")


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_requests_get_the_answers_that_the_description_names(case: Any, lead: Member) -> None:
    cookie = f"curate_session_8000={lead.client.cookies['curate_session_8000']}"
    headers = {"X-CSRF-Token": lead.me["csrf"], "Cookie": cookie}
    case.call_and_validate(headers=headers, excluded_checks=NOT_HELD)


def test_every_request_is_described_with_its_errors(lead: Member) -> None:
    description = lead.get("/api/openapi.json")
    for path, methods in description["paths"].items():
        for method, operation in methods.items():
            said = f"{method} {path}"
            assert operation["summary"] and operation.get("description"), said
            assert {"401", "403", "422", "507"} <= operation["responses"].keys(), said
            success = operation["responses"]["200"]["content"]
            assert any("schema" in kind or name == "image/jpeg" for name, kind in success.items()), said
