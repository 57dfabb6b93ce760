"""The tests that every signal, captioner and translator must pass, whoever wrote it.

A test class derives from the contract and provides the fixture `made`: a loaded plug-in, with the parameters that a
recipe would give. `tests/curation/signals/test_contract.py` is an example.
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
"""A value that no parameter accepts."""
TOLERANCE = 1e-3
"""Tolerance for scores of one picture in different batches, since models add up in another order."""


def pictures() -> dict[str, bytes]:
    """Returns an ordinary picture, and odd ones that every plug-in must accept, by name as bytes of files."""
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
class LoadedPlugin:
    """A loaded plug-in, and the section of a recipe that it was made from."""

    plugin: Any
    params: Mapping[str, Any]
    """The plug-in's parameters in the recipe."""


class PluginContract:
    """The tests of parameters, which all plug-ins must pass."""

    @abstractmethod
    def make(self, made: LoadedPlugin, params: Mapping[str, Any]) -> Plugin:
        """Makes the same plug-in with other parameters."""

    def section(self, made: LoadedPlugin) -> str:
        """Returns the plug-in's key in the recipe."""
        return str(made.plugin.key)

    def refusal(self, made: LoadedPlugin, **changed: Any) -> str:
        """Returns the error, of one line, with which changed parameters are refused."""
        with pytest.raises(UserError) as caught:
            self.make(made, {**made.params, **changed})
        assert "\n" not in str(caught.value)
        return str(caught.value)

    def test_an_unknown_parameter_is_refused_by_its_key(self, made: LoadedPlugin) -> None:
        key = f"{self.section(made)}.no_such_parameter"
        assert self.refusal(made, no_such_parameter=1).startswith(f"{key}: unknown key")

    def test_a_wrong_value_is_refused_by_its_key(self, made: LoadedPlugin) -> None:
        for name in type(made.plugin.params).model_fields.keys() - {"backend"}:
            assert self.refusal(made, **{name: WRONG}).startswith(f"{self.section(made)}.{name}"), name

    def test_parameters_go_to_another_process(self, made: LoadedPlugin) -> None:
        params = pickle.loads(pickle.dumps(made.plugin.params))
        assert params == made.plugin.params and type(params) is type(made.plugin.params)

    def test_equal_parameters_are_the_same_plug_in_to_the_fingerprint(self, made: LoadedPlugin) -> None:
        again = self.make(made, made.params)
        assert canonical(again.identity) == canonical(made.plugin.identity)
        assert isinstance(made.plugin.version, int) and made.plugin.version >= 1

    def test_what_only_places_it_is_a_parameter_and_not_in_the_fingerprint(self, made: LoadedPlugin) -> None:
        assert made.plugin.placement <= type(made.plugin.params).model_fields.keys()
        assert not made.plugin.placement & made.plugin.identity["parameters"].keys()


class SignalContract(PluginContract):
    """The tests of every signal."""

    def section(self, made: LoadedPlugin) -> str:
        return f"signals.{made.plugin.name}"

    def make(self, made: LoadedPlugin, params: Mapping[str, Any]) -> Plugin:
        signal = made.plugin
        return make_signal(signal.name, {**params, "backend": signal.backend}, signal.models)

    @pytest.fixture(scope="class")
    @classmethod
    def rows(cls, made: LoadedPlugin) -> dict[str, Row]:
        """Returns the pictures as rows for the signal, without those on which a signal that it needs has failed."""
        rows = {name: row_of(made.plugin, data) for name, data in pictures().items()}
        return {name: row for name, row in rows.items() if row is not None}

    @pytest.fixture(scope="class")
    @classmethod
    def scores(cls, made: LoadedPlugin, rows: dict[str, Row]) -> list[Scores | RowError]:
        """Returns the scores of the rows as one batch."""
        return made.plugin.score(list(rows.values()))  # type: ignore[no-any-return]

    def test_every_row_has_a_result(self, rows: dict[str, Row], scores: list[Scores | RowError]) -> None:
        assert len(scores) == len(rows) and all(isinstance(s, dict | RowError) for s in scores)
        assert isinstance(scores[0], dict), f"not even an ordinary picture is scored: {scores[0]}"

    def test_columns_are_those_declared(self, made: LoadedPlugin, scores: list[Scores | RowError]) -> None:
        scored = [s for s in scores if isinstance(s, dict)]
        assert made.plugin.columns and set().union(*scored) == set(made.plugin.columns)
        for column, kind in made.plugin.columns.items():
            values = [s.get(column) for s in scored]
            if pa.types.is_fixed_size_list(kind):
                assert {np.shape(value) for value in values} == {(kind.list_size,)}
            else:
                pa.array(values, kind)

    def test_numbers_are_finite(self, scores: list[Scores | RowError]) -> None:
        for score in scores:
            for value in score.values() if isinstance(score, dict) else ():
                assert not isinstance(value, float | np.ndarray) or np.isfinite(value).all()

    def test_a_batch_says_what_each_row_alone_does(
        self, made: LoadedPlugin, rows: dict[str, Row], scores: list[Scores | RowError]
    ) -> None:
        alone = [made.plugin.score([row])[0] for row in rows.values()]
        for name, one, other in zip(rows, alone, scores, strict=True):
            assert alike(one, other), name

    def test_results_come_in_the_order_of_the_rows(
        self, made: LoadedPlugin, rows: dict[str, Row], scores: list[Scores | RowError]
    ) -> None:
        backwards = made.plugin.score(list(rows.values())[::-1])
        assert all(alike(one, other) for one, other in zip(backwards, scores[::-1], strict=True))

    def test_no_rows_are_no_results(self, made: LoadedPlugin) -> None:
        assert list(made.plugin.score([])) == []

    def test_pixels_are_left_as_they_are(self, made: LoadedPlugin, rows: dict[str, Row]) -> None:
        row = rows["plain"]
        if row.picture is not None:
            before = row.picture.bgr(made.plugin.side).copy()
            made.plugin.score([row])
            assert np.array_equal(row.picture.bgr(made.plugin.side), before)


class TextContract(PluginContract):
    """The tests of answers, which captioners and translators must pass."""

    @classmethod
    @abstractmethod
    def inputs(cls, made: LoadedPlugin) -> list[Any]:
        """Returns a batch of inputs for the backend, the first of them ordinary."""

    @classmethod
    @abstractmethod
    def answers(cls, made: LoadedPlugin, inputs: Sequence[Any]) -> list[Answer]:
        """Returns the backend's answers to a batch of inputs."""

    @pytest.fixture(scope="class")
    @classmethod
    def batch_answers(cls, made: LoadedPlugin) -> list[Answer]:
        """Returns the answers to all inputs as one batch."""
        return cls.answers(made, cls.inputs(made))

    def test_everything_asked_has_an_answer(self, made: LoadedPlugin, batch_answers: list[Answer]) -> None:
        assert len(batch_answers) == len(self.inputs(made)) and all(
            isinstance(answer, Answer) for answer in batch_answers
        )
        assert batch_answers[0].text and not batch_answers[0].failed, "not even something ordinary has a text"
        assert all(answer.text == "" for answer in batch_answers if answer.failed)

    def test_a_batch_says_what_each_alone_does(self, made: LoadedPlugin, batch_answers: list[Answer]) -> None:
        alone = [self.answers(made, [one])[0] for one in self.inputs(made)]
        assert [answer.text for answer in alone] == [answer.text for answer in batch_answers]

    def test_answers_come_in_the_order_of_what_is_asked(self, made: LoadedPlugin, batch_answers: list[Answer]) -> None:
        backwards = self.answers(made, self.inputs(made)[::-1])
        assert [answer.text for answer in backwards] == [answer.text for answer in batch_answers[::-1]]

    def test_nothing_asked_is_nothing_said(self, made: LoadedPlugin) -> None:
        assert list(self.answers(made, [])) == []

    def test_it_knows_how_much_it_takes_at_once(self, made: LoadedPlugin) -> None:
        assert made.plugin.batch_size >= 1


class CaptionerContract(TextContract):
    """The tests of every captioner."""

    def make(self, made: LoadedPlugin, params: Mapping[str, Any]) -> Plugin:
        return make_captioner(params, made.plugin.models)

    @classmethod
    def inputs(cls, made: LoadedPlugin, attempt: int = 0) -> list[Request]:
        return [request_of(made.plugin, name, data, attempt) for name, data in pictures().items()]

    @classmethod
    def answers(cls, made: LoadedPlugin, inputs: Sequence[Request]) -> list[Answer]:
        return list(made.plugin.caption(inputs))

    def test_another_attempt_depends_on_the_key_and_its_number_alone(self, made: LoadedPlugin) -> None:
        inputs = self.inputs(made, attempt=1)
        together = [answer.text for answer in self.answers(made, inputs)]
        assert [self.answers(made, [one])[0].text for one in inputs[::-1]] == together[::-1]


class TranslatorContract(TextContract):
    """The tests of every translator; a class may set `texts`, if a translator knows only some."""

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

    def make(self, made: LoadedPlugin, params: Mapping[str, Any]) -> Plugin:
        return make_translator(params, made.plugin.models, made.plugin.into, made.plugin.key)

    @classmethod
    def inputs(cls, made: LoadedPlugin) -> list[str]:
        return list(cls.texts)

    @classmethod
    def answers(cls, made: LoadedPlugin, inputs: Sequence[str]) -> list[Answer]:
        return list(made.plugin.translate(inputs))

    def test_nothing_is_made_of_an_empty_text(self, made: LoadedPlugin) -> None:
        assert self.answers(made, [""])[0].text == ""


def row_of(signal: Signal, data: bytes) -> Row | None:
    """Returns the picture as the pass gives it to the signal; None if a signal that it needs has failed."""
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
    """Returns the picture as the stage gives it to the captioner."""
    header, image = probe(data), None
    if captioner.side is not None:
        image = captioner.prepare(Picture(data).bgr(captioner.side_for(header.width, header.height)))
    row = {"width": header.width, "height": header.height, "caption": f"the original text of {name}"}
    return Request(f"c/00000/{name}", image, row, "Describe it." if captioner.generative else "", attempt)


def alike(one: Any, other: Any) -> bool:
    """Returns whether two results are equal, but for the last digits of their numbers."""
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
