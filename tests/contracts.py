"""What every signal, captioner and translator must keep to, whoever wrote it.

A test class derives from the contract and gives the fixture `made`: a plug-in that is loaded, with the parameters that
a recipe would give. `tests/curation/signals/test_contract.py` is an example.
"""

import pickle
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from PIL import Image

from curation.captions.base import Captioner, Request, make_captioner, make_translator
from curation.errors import RowError, UserError
from curation.images import Picture, probe
from curation.models.plugin import Plugin
from curation.models.text.generation import Answer
from curation.signals.base import Row, Scores, Signal, make_signal
from curation.workspace.digests import canonical
from tests import bench

WRONG = [[]]
"""A value that no parameter takes."""
TOLERANCE = 1e-3
"""Scores of a picture may differ by so much between batches: models add up in another order."""


def pictures() -> dict[str, bytes]:
    """An ordinary picture, and odd ones that every plug-in must take."""
    plain = bench.picture(1)
    clear = plain.resize((64, 48)).convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize((64, 48)))
    return {
        "plain": bench.encoded(plain),
        "one pixel": bench.encoded(Image.new("RGB", (1, 1), "red"), "PNG"),
        "gray": bench.encoded(bench.picture(2, (200, 150)).convert("L")),
        "16 bit": bench.encoded(Image.fromarray(np.full((40, 30), 40_000, np.uint16)), "PNG"),
        "transparent": bench.encoded(clear, "PNG"),
        "very wide": bench.encoded(bench.picture(3, (1500, 6)), "PNG"),
        "very high": bench.encoded(bench.picture(4, (5, 1200)), "PNG"),
    }


@dataclass(frozen=True)
class Made:
    """A plug-in as a recipe asks for it."""

    plugin: Any
    given: Mapping[str, Any]
    """Its parameters in the recipe."""


class PluginContract:
    """What all plug-ins have in common: their parameters."""

    @abstractmethod
    def make(self, made: Made, given: Mapping[str, Any]) -> Plugin:
        """The same plug-in with other parameters."""

    def section(self, made: Made) -> str:
        """Its place in the recipe."""
        return str(made.plugin.key)

    def refusal(self, made: Made, **changed: Any) -> str:
        with pytest.raises(UserError) as caught:
            self.make(made, {**made.given, **changed})
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_an_unknown_parameter_is_refused_by_its_key(self, made: Made) -> None:
        key = f"{self.section(made)}.no_such_parameter"
        assert self.refusal(made, no_such_parameter=1).startswith(f"{key}: unknown key")

    def test_a_wrong_value_is_refused_by_its_key(self, made: Made) -> None:
        for name in type(made.plugin.params).model_fields.keys() - {"backend"}:
            assert self.refusal(made, **{name: WRONG}).startswith(f"{self.section(made)}.{name}"), name

    def test_parameters_go_to_another_process(self, made: Made) -> None:
        params = pickle.loads(pickle.dumps(made.plugin.params))
        assert params == made.plugin.params and type(params) is type(made.plugin.params)

    def test_equal_parameters_are_the_same_plug_in_to_the_fingerprint(self, made: Made) -> None:
        again = self.make(made, made.given)
        assert canonical(again.identity) == canonical(made.plugin.identity)
        assert isinstance(made.plugin.version, int) and made.plugin.version >= 1

    def test_what_only_places_it_is_a_parameter_and_not_in_the_fingerprint(self, made: Made) -> None:
        assert made.plugin.placement <= type(made.plugin.params).model_fields.keys()
        assert not made.plugin.placement & made.plugin.identity["parameters"].keys()


class SignalContract(PluginContract):
    """Every signal."""

    def section(self, made: Made) -> str:
        return f"signals.{made.plugin.name}"

    def make(self, made: Made, given: Mapping[str, Any]) -> Plugin:
        signal = made.plugin
        return make_signal(signal.name, {**given, "backend": signal.backend}, signal.models)

    @pytest.fixture(scope="class")
    @classmethod
    def rows(cls, made: Made) -> dict[str, Row]:
        """The odd pictures as the signal is given them; without those of which a signal that it needs knows nothing."""
        found = {name: row_of(made.plugin, data) for name, data in pictures().items()}
        return {name: row for name, row in found.items() if row is not None}

    @pytest.fixture(scope="class")
    @classmethod
    def scores(cls, made: Made, rows: dict[str, Row]) -> list[Scores | RowError]:
        """Of the rows as one batch."""
        return made.plugin.score(list(rows.values()))  # type: ignore[no-any-return]

    def test_every_row_has_a_result(self, rows: dict[str, Row], scores: list[Scores | RowError]) -> None:
        assert len(scores) == len(rows) and all(isinstance(s, dict | RowError) for s in scores)
        assert isinstance(scores[0], dict), f"not even an ordinary picture is scored: {scores[0]}"

    def test_columns_are_those_declared(self, made: Made, scores: list[Scores | RowError]) -> None:
        given = [s for s in scores if isinstance(s, dict)]
        assert made.plugin.columns and set().union(*given) == set(made.plugin.columns)
        for column, kind in made.plugin.columns.items():
            values = [s.get(column) for s in given]
            if pa.types.is_fixed_size_list(kind):
                assert {np.shape(value) for value in values} == {(kind.list_size,)}
            else:
                pa.array(values, kind)

    def test_numbers_are_finite(self, scores: list[Scores | RowError]) -> None:
        for found in scores:
            for value in found.values() if isinstance(found, dict) else ():
                assert not isinstance(value, float | np.ndarray) or np.isfinite(value).all()

    def test_a_batch_says_what_each_row_alone_does(
        self, made: Made, rows: dict[str, Row], scores: list[Scores | RowError]
    ) -> None:
        alone = [made.plugin.score([row])[0] for row in rows.values()]
        for name, one, other in zip(rows, alone, scores, strict=True):
            assert alike(one, other), name

    def test_results_come_in_the_order_of_the_rows(
        self, made: Made, rows: dict[str, Row], scores: list[Scores | RowError]
    ) -> None:
        backwards = made.plugin.score(list(rows.values())[::-1])
        assert all(alike(one, other) for one, other in zip(backwards, scores[::-1], strict=True))

    def test_no_rows_are_no_results(self, made: Made) -> None:
        assert list(made.plugin.score([])) == []

    def test_pixels_are_left_as_they_are(self, made: Made, rows: dict[str, Row]) -> None:
        row = rows["plain"]
        if row.picture is not None:
            before = row.picture.bgr(made.plugin.side).copy()
            made.plugin.score([row])
            assert np.array_equal(row.picture.bgr(made.plugin.side), before)


class TextContract(PluginContract):
    """What captioners and translators have in common: answers."""

    @classmethod
    @abstractmethod
    def asked(cls, made: Made) -> list[Any]:
        """What the backend is given as one batch; the first is something ordinary."""

    @classmethod
    @abstractmethod
    def answers(cls, made: Made, asked: Sequence[Any]) -> list[Answer]:
        """What it says."""

    @pytest.fixture(scope="class")
    @classmethod
    def said(cls, made: Made) -> list[Answer]:
        """To all that is asked, at once."""
        return cls.answers(made, cls.asked(made))

    def test_everything_asked_has_an_answer(self, made: Made, said: list[Answer]) -> None:
        assert len(said) == len(self.asked(made)) and all(isinstance(answer, Answer) for answer in said)
        assert said[0].text and not said[0].failed, "not even something ordinary has a text"
        assert all(answer.text == "" for answer in said if answer.failed)

    def test_a_batch_says_what_each_alone_does(self, made: Made, said: list[Answer]) -> None:
        alone = [self.answers(made, [one])[0] for one in self.asked(made)]
        assert [answer.text for answer in alone] == [answer.text for answer in said]

    def test_answers_come_in_the_order_of_what_is_asked(self, made: Made, said: list[Answer]) -> None:
        backwards = self.answers(made, self.asked(made)[::-1])
        assert [answer.text for answer in backwards] == [answer.text for answer in said[::-1]]

    def test_nothing_asked_is_nothing_said(self, made: Made) -> None:
        assert list(self.answers(made, [])) == []

    def test_it_knows_how_much_it_takes_at_once(self, made: Made) -> None:
        assert made.plugin.batch_size >= 1


class CaptionerContract(TextContract):
    """Every captioner."""

    def make(self, made: Made, given: Mapping[str, Any]) -> Plugin:
        return make_captioner(given, made.plugin.models)

    @classmethod
    def asked(cls, made: Made, attempt: int = 0) -> list[Request]:
        return [request_of(made.plugin, name, data, attempt) for name, data in pictures().items()]

    @classmethod
    def answers(cls, made: Made, asked: Sequence[Request]) -> list[Answer]:
        return list(made.plugin.caption(asked))

    def test_another_attempt_depends_on_the_key_and_its_number_alone(self, made: Made) -> None:
        asked = self.asked(made, attempt=1)
        together = [answer.text for answer in self.answers(made, asked)]
        assert [self.answers(made, [one])[0].text for one in asked[::-1]] == together[::-1]


class TranslatorContract(TextContract):
    """Every translator; a class may set `texts`, where a translator knows but some."""

    texts: Sequence[str] = (
        "A dog sits on a red mat.",
        "",
        " \n",
        "Two people walk along the beach. A sign reads “SALE”.",
        "🙂🙂",
        "no full stop at all",
        "一只狗",
        "x" * 3000,
    )

    def make(self, made: Made, given: Mapping[str, Any]) -> Plugin:
        return make_translator(given, made.plugin.models, made.plugin.into, made.plugin.key)

    @classmethod
    def asked(cls, made: Made) -> list[str]:
        return list(cls.texts)

    @classmethod
    def answers(cls, made: Made, asked: Sequence[str]) -> list[Answer]:
        return list(made.plugin.translate(asked))

    def test_nothing_is_made_of_an_empty_text(self, made: Made) -> None:
        assert self.answers(made, [""])[0].text == ""


def row_of(signal: Signal, data: bytes) -> Row | None:
    """The picture as the pass gives it to the signal; None where a signal that it needs has failed."""
    known: Scores = {}
    for needed in signal.needed.values():
        row = row_of(needed, data)
        scores = needed.score([row])[0] if row is not None else RowError("needs")
        if isinstance(scores, RowError):
            return None
        known |= dict.fromkeys(needed.columns) | scores
    sample = {column: "a picture of coloured blocks" for column in signal.inputs}
    return Row(Picture(data) if signal.side is not None else None, sample, known)


def request_of(captioner: Captioner, name: str, data: bytes, attempt: int = 0) -> Request:
    """The picture as the stage gives it to the captioner."""
    header, image = probe(data), None
    if captioner.side is not None:
        image = captioner.prepare(Picture(data).bgr(captioner.side_for(header.width, header.height)))
    row = {"width": header.width, "height": header.height, "caption": f"the original text of {name}"}
    return Request(f"c/00000/{name}", image, row, "Describe it." if captioner.generative else "", attempt)


def alike(one: Any, other: Any) -> bool:
    """Whether two results say the same, but for the last digits of their numbers."""
    if isinstance(one, RowError) or isinstance(other, RowError):
        return str(one) == str(other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(alike, one, other))
    if isinstance(one, float | np.ndarray | np.floating):
        return other is not None and np.allclose(
            np.asarray(one, np.float64), np.asarray(other, np.float64), rtol=TOLERANCE, atol=TOLERANCE
        )
    return bool(one == other)
