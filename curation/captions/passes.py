"""Captions and translates the rows of one shard: requests captions, checks them, retries flagged ones, and translates.

Each pass goes over all rows that still need something, so that its batches are full: the first pass over all rows, the
next ones over rows whose caption was flagged, with sampling; then the translations.
"""

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeVar

from curation.captions.answer_cache import Answers
from curation.captions.base import Request, Translator
from curation.captions.checks.check import check_caption, check_translation
from curation.captions.checks.wording import trimmed
from curation.captions.training_text import language_of
from curation.corpora.prefetch import Pictures
from curation.errors import RowError, StageError, UserError, in_one_line
from curation.models.device import gpu_is_lost
from curation.models.text.generation import Answer
from curation.recipe.prompts import prompt_for
from curation.recipe.sections import Captions
from curation.tasks import Watch, WorkerLost
from curation.texts import CONTROLS, cleaned
from curation.workspace.digests import digest
from curation.workspace.schemas import TEXT_IN_THE_WILD

if TYPE_CHECKING:
    from curation.captions.crew import Crew

NO_TRANSLATOR, UNTRANSLATED = "no_translator", "untranslated"
"""Flags of a text for which there is no translator, and of one that its translator could not translate correctly."""

Asked = TypeVar("Asked")


@dataclass(slots=True)
class Texts:
    """The texts of one row, with the flags of their checks, the prompt's name, the number of attempts and the cost."""

    caption_en: str | None = None
    caption_zh: str | None = None
    translated: bool = False
    original_en: str | None = None
    flags: list[str] = field(default_factory=list)
    prompt: str | None = None
    attempts: int = 0
    tokens_in: int = 0
    tokens_out: int = 0
    cost: float = 0.0

    def count(self, answer: Answer) -> None:
        """Adds an answer's tokens and cost (US dollars)."""
        self.tokens_in += answer.tokens_in
        self.tokens_out += answer.tokens_out
        self.cost += answer.cost


class Passes:
    """The captioning and translation passes over one shard.

    Args:
        settings: the recipe's section `captions`.
        crew: the captioner and translators, with their models loaded.
        rows: the shard's rows: samples columns, `source`, and the columns of the signals that the captioner reads.
        pictures: the shard's images, converted by the captioner's `prepare`; None if it reads no images.
        answers: the cached answers of this shard.
        watch: records the rows in hand.
    """

    def __init__(
        self,
        settings: Captions,
        crew: "Crew",
        rows: Sequence[Mapping[str, Any]],
        pictures: Pictures | None,
        answers: Answers,
        watch: Watch,
    ) -> None:
        self.settings, self.crew, self.rows = settings, crew, rows
        self.pictures, self.answers, self.watch = pictures, answers, watch
        self.notes: list[str] = []
        """Messages of unexpected errors in a backend."""
        self.spent: dict[str, float] = {}
        """Tokens and dollars that this run has spent, without cached answers."""

    def run(self, todo: Sequence[int]) -> dict[int, Texts]:
        """Captions rows and translates their captions and Chinese originals.

        Args:
            todo: row numbers, in ascending order.

        Returns:
            The texts of each row, by row number.

        Raises:
            StageError: a backend can do no more work; the answers so far are cached.
        """
        texts = {row: Texts() for row in todo}
        waiting = list(todo)
        for attempt in range(self.settings.attempts if self.crew.captioner.generative else 1):
            waiting = [row for row in self._caption(waiting, texts, attempt) if texts[row].flags]
        self._translate(texts)
        self._translate_originals(texts)
        self.watch.note(os.getpid())
        return texts

    def _caption(self, rows: list[int], texts: dict[int, Texts], attempt: int) -> list[int]:
        """Makes one attempt at these rows; returns those that were answered, since retrying the others is useless."""
        asked = {row: self.request(row, attempt) for row in rows}
        requests = {row: request for row, (_name, request) in asked.items()}
        for row, (name, _request) in asked.items():
            texts[row].prompt = name
        answered = self._kept_captions(requests)
        for row, answer in answered.items():
            self._judge(row, texts[row], answer)
        left = [row for row in rows if row not in answered]
        for batch in self._batches(left, attempt):
            shown = {}
            for row in batch:
                image = self._image(row, attempt)
                if isinstance(image, RowError):
                    texts[row].flags = texts[row].flags or [image.reason]
                    texts[row].attempts = attempt + 1
                else:
                    shown[row] = replace(requests[row], image=image)
            answers = dict(zip(shown, self._each(self.crew.captioner.caption, list(shown.values())), strict=True))
            self._keep({self.caption_name(requests[row]): answer for row, answer in answers.items()})
            for row, answer in answers.items():
                self._judge(row, texts[row], answer)
            answered |= answers
        return sorted(row for row, answer in answered.items() if not answer.failed)

    def request(self, row: int, attempt: int = 0) -> tuple[str, Request]:
        """Returns the name of the row's prompt, and the captioner's request without the image."""
        columns = self.rows[row]
        text = columns.get("text") if columns.get("source") == TEXT_IN_THE_WILD else None
        name, prompt = prompt_for(
            columns["key"],
            self.settings.prompts,
            text,
            self.settings.text_prompt,
            self.crew.captioner.max_text,
        )
        return name, Request(columns["key"], None, columns, prompt, attempt)

    def _kept_captions(self, requests: dict[int, Request]) -> dict[int, Answer]:
        if not self.crew.captioner.generative:
            return {}
        names = {row: self.caption_name(request) for row, request in requests.items()}
        kept = self.answers.get(list(names.values()))
        return {row: kept[name] for row, name in names.items() if name in kept}

    def caption_name(self, request: Request) -> str:
        """Returns the digest that names a request in the cache; the image's sha256 stands for the prepared image."""
        seed = request.seed if request.attempt else None
        return digest([self.crew.digest_of(self.crew.captioner), request.row["sha256"], request.prompt, seed])

    def _keep(self, answers: dict[str, Answer]) -> None:
        if answers and self.crew.captioner.generative:
            self.answers.put(answers)

    def _judge(self, row: int, texts: Texts, answer: Answer) -> None:
        """Checks an answer, and makes it the row's caption if it is better than the previous one."""
        texts.count(answer)
        texts.attempts += 1
        written, controls = cleaned(answer.text)
        text = trimmed(written)
        looked = self.rows[row].get("ocr_state") == "scored"
        seen = (self.rows[row].get("text") or "") if looked else None
        flags = [answer.failed] if answer.failed else check_caption(text, answer.complete, seen, self.settings.checks)
        flags += [CONTROLS] if controls else []
        better = text and (texts.caption_en is None or self._badness(flags) < self._badness(texts.flags))
        if texts.attempts == 1 or better:
            texts.caption_en, texts.flags = text or None, flags

    def _badness(self, flags: Sequence[str]) -> tuple[int, int]:
        """Returns the number of flags that exclude a caption from training, and the number of other flags."""
        tolerated = sum(flag in self.settings.tolerate for flag in flags)
        return len(flags) - tolerated, tolerated

    def _image(self, row: int, attempt: int) -> Any:
        """Returns the row's picture as the captioner's `prepare` made it; a RowError if there is no such picture."""
        if verdict := self.watch.verdict(row, attempt):
            return RowError(verdict)
        if self.pictures is None:
            return None
        try:
            return self.pictures.made(row, self._side(row))
        except StageError:
            raise
        except Exception as error:  # a plug-in's own mistake must not cost the shard
            self._note(error)
            return RowError("error")

    def _side(self, row: int) -> int:
        columns = self.rows[row]
        return self.crew.captioner.side_for(columns["width"] or 1, columns["height"] or 1)

    def _batches(self, rows: list[int], step: int) -> Iterator[list[int]]:
        """Yields batches of rows, recorded as in hand, while the images of the next batch are decoded."""
        captioner, pictures = self.crew.captioner, self.pictures
        batches = self.watch.batches(rows, [0] * len(rows), captioner.batch_size, 1)
        batch: list[int] | None = next(batches, None)
        while batch:
            following = next(batches, None)
            ahead = following if following and pictures and captioner.threads > 1 and not self.watch.suspects else batch
            self.watch.note(os.getpid(), batch[0], ahead[-1] + 1, 0 if step else len(batch))
            self.watch.step(step)
            if pictures and ahead is not batch:
                for row in (*batch, *ahead):
                    pictures.ahead([row], self._side(row))
            yield batch
            if pictures:
                pictures.drop(batch)
            batch = following

    def _translate(self, texts: dict[int, Texts]) -> None:
        captions = {row: t.caption_en for row, t in texts.items() if t.caption_en}
        if self.crew.translator is None:
            for row in captions:
                texts[row].flags.append(f"zh_{NO_TRANSLATOR}")
            return
        for row, answer in self._translated(self.crew.translator, captions):
            chinese, wrong = self._judge_translation(captions[row], answer, "zh")
            texts[row].count(answer)
            texts[row].caption_zh, texts[row].translated = chinese, bool(chinese) and not wrong
            texts[row].flags += [f"zh_{flag}" for flag in wrong]

    def _translate_originals(self, texts: dict[int, Texts]) -> None:
        """Translates Chinese original captions into English, if the recipe names a translator for them."""
        if self.crew.original_translator is None:
            return
        captions = {row: self.rows[row].get("caption") or "" for row in texts}
        originals = {row: text for row, text in captions.items() if language_of(text) == "zh"}
        for row, answer in self._translated(self.crew.original_translator, originals):
            english, wrong = self._judge_translation(originals[row], answer, "en")
            texts[row].count(answer)
            texts[row].original_en = None if wrong else english
            texts[row].flags += [f"original_{flag}" for flag in wrong]

    def _judge_translation(self, text: str, answer: Answer, into: Any) -> tuple[str | None, list[str]]:
        translation, controls = cleaned(answer.text.strip())
        if answer.failed or not translation:
            return None, [answer.failed or UNTRANSLATED]
        flags = [*([] if answer.complete else ["truncated"]), *([CONTROLS] if controls else [])]
        return translation, flags + check_translation(text, translation, into=into)

    def _translated(self, translator: Translator, texts: dict[int, str]) -> Iterator[tuple[int, Answer]]:
        """Yields each row's translation, from the cache or the translator."""
        step = self.settings.attempts + (translator.into == "en")  # steps are numbered on after the caption attempts
        names = {row: digest([self.crew.digest_of(translator), text]) for row, text in texts.items()}
        kept = self.answers.get(list(names.values())) if translator.generative else {}
        yield from ((row, kept[name]) for row, name in names.items() if name in kept)
        left = [row for row, name in names.items() if name not in kept]
        for batch in self.watch.batches(left, [0] * len(left), translator.batch_size, 1):
            self.watch.note(os.getpid(), batch[0], batch[-1] + 1, len(batch) if translator.into == "zh" else 0)
            self.watch.step(step)
            condemned = {row: Answer(failed=why) for row in batch if (why := self.watch.verdict(row, step))}
            asked = [row for row in batch if row not in condemned]
            answers = dict(zip(asked, self._each(translator.translate, [texts[r] for r in asked]), strict=True))
            if translator.generative and answers:
                self.answers.put({names[row]: answer for row, answer in answers.items()})
            yield from (answers | condemned).items()

    def _each(self, ask: Callable[[Sequence[Asked]], list[Answer]], items: list[Asked]) -> list[Answer]:
        """Returns one answer for each item; if a batch as a whole raises an error, each item is tried alone."""
        if not items:
            return []
        try:
            answers = ask(items)
            for answer in answers:
                paid = {"tokens_in": answer.tokens_in, "tokens_out": answer.tokens_out, "dollars": answer.cost}
                self.spent |= {name: self.spent.get(name, 0) + amount for name, amount in paid.items() if amount}
            return answers
        except (StageError, UserError):
            raise
        except Exception as error:  # a plug-in's own mistake must not cost the shard
            if gpu_is_lost(error):
                raise WorkerLost from error
            if len(items) == 1:
                self._note(error)
                return [Answer(failed="error")]
            return [answer for item in items for answer in self._each(ask, [item])]

    def _note(self, error: Exception) -> None:
        message = f"{type(error).__name__}: {in_one_line(error)}"
        if message not in self.notes and len(self.notes) < 3:
            self.notes.append(message)
