"""The recipe: one YAML file that says what to do, read into a typed object and rejected early if it is wrong.

Paths in a recipe are relative to the recipe's own folder; `~` and environment variables are expanded. Corpora may be at
any fsspec URL.
"""

import re
from difflib import get_close_matches
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, field_validator, model_validator

from curation.errors import UserError, nearest
from curation.extensions import names, own_folders
from curation.recipe.fields import Bytes, Name, Section, as_text
from curation.recipe.prompts import PUBLISHED, TEXT_PROMPT
from curation.tasks import Demand

FORMATS = ("webdataset", "parquet", "files", "folder")
"""Formats of raw corpora that need no reader of the user's own."""


class Corpus(Section):
    """One raw corpus."""

    name: Name
    path: str = Field(description="folder or fsspec URL")
    format: str = Field(
        "webdataset",
        description="webdataset, parquet and files: as img2dataset writes them; folder: any folder of images; "
        "or the name of a reader of your own",
    )
    columns: dict[Literal["key", "caption", "url", "image"], str] = Field(
        {}, description="use: name of the column, such as `caption: TEXT`; common names are known"
    )

    @field_validator("format")
    @classmethod
    def _known(cls, format: str) -> str:
        if format not in FORMATS:
            own = names(own_folders("CURATE_READERS"), "curate.readers")
            if format not in own:
                raise ValueError(f'there is no format "{format}"{nearest(format, [*FORMATS, *own])}')
        return format


class Dedup(Section):
    """The rules by which duplicates are found, and by which one image of each group of them is kept."""

    exact: bool = Field(True, description="equal bytes")
    near: int | None = Field(None, ge=0, le=6, description="Hamming distance of perceptual hashes; needs signal photo")
    cosine: float | None = Field(
        None, ge=0.5, le=1, description="least cosine of embeddings, such as 0.95; needs signal embedding"
    )
    quality: str | None = Field(None, description="SQL expression; the highest stays (default: aesthetic, if scored)")
    against: str | None = Field(
        None, description="Parquet or CSV file with sha256, phash or (Parquet) embedding: drop what is listed"
    )

    @property
    def needs_phash(self) -> bool:
        """Whether perceptual hashes are compared."""
        return self.near is not None or self.against is not None


class Balance(Section):
    """The rules of balancing: how many images of each group are kept. The best ones stay."""

    by: str | None = Field(None, description="column or SQL expression: each of its values is a group")
    clusters: int | None = Field(None, ge=2, le=25_000, description="k-means clusters of the signal embedding instead")
    at_most: int | None = Field(None, ge=1, description="images of one group")
    total: int | None = Field(None, ge=1, description="images of all groups; needs power and/or shares")
    power: float | None = Field(None, ge=0, le=1, description="shares of the total: 1 as it is, 0 equal, 0.5 between")
    shares: Annotated[dict[str, Annotated[float, Field(ge=0, le=1)]] | None, BeforeValidator(as_text)] = Field(
        None, description="share of the total by value; the values not named share what is left of 1"
    )

    @model_validator(mode="after")
    def _one_rule(self) -> "Balance":
        if (self.by is None) == (self.clusters is None):
            raise ValueError("give either `by` (a column or SQL expression) or `clusters` (a number)")
        if (self.at_most is None) == (self.total is None):
            raise ValueError("give either `at_most` (images of one group) or `total` (images in all)")
        if (self.total is None) != (self.power is None and self.shares is None):
            raise ValueError("`total` goes with `power`, `shares` or both, and they with it")
        if self.shares is not None and self.clusters is not None:
            raise ValueError("`shares` are given by value; clusters have no names to give them by")
        if sum((self.shares or {}).values()) > 1 + 1e-6:
            raise ValueError("the shares add up to more than 1")
        return self


class Select(Section):
    """The rules by which images are kept."""

    where: dict[str, str] = Field({}, description="named SQL predicates, walked in this order; only TRUE passes")
    dedup: Dedup = Dedup()
    balance: Balance | None = Field(None, description="of the rows that are left: so many of each group")
    text_in_the_wild: str | None = Field(
        None, description="SQL predicate: kept images for which it is TRUE are the text-rich subset, quoted in captions"
    )

    @property
    def rules(self) -> str:
        """The rules as text; a stored selection is up to date only if it was made by rules with the same text."""
        return self.model_dump_json(exclude={"dedup": {"against"}})

    @property
    def parts(self) -> dict[str, Any]:
        """The rules by part, with the order of the predicates, from which messages say what has changed."""
        return self.model_dump(mode="json", exclude={"dedup": {"against"}}) | {"order": list(self.where)}

    @field_validator("where")
    @classmethod
    def _names(cls, where: dict[str, str]) -> dict[str, str]:
        for name in where:
            if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
                raise ValueError(f'"{name}" is not a name; use lower-case letters, digits and _')
            if name in ("dedup", "balance"):  # in the funnel they stand for rows that wait to be compared
                raise ValueError(f'"{name}" names a step of its own; give the predicate another name')
        return where


class CaptionChecks(Section):
    """The limits that a caption must keep to; see `curation.captions.checks.check`."""

    min_characters: int = Field(10, ge=0)
    min_words: int = Field(3, ge=0)
    max_characters: int = Field(2500, ge=1)
    max_words: int = Field(400, ge=1)
    max_foreign_share: float = Field(0.1, ge=0, le=1, description="of the letters outside quotes that are not Latin")
    min_quote_match: float = Field(0.8, ge=0, le=1, description="likeness of a quote to what OCR has read")


class Captions(Section):
    """The settings by which synthetic captions are made, checked, translated and mixed with the original texts."""

    captioner: dict[str, Any] = {"backend": "describe"}
    prompts: list[str] = Field(
        ["pixart"], min_length=1, description="published ones by name, or in full; the key chooses among several"
    )
    text_prompt: str = Field(TEXT_PROMPT, description="for the text-rich subset; {text} is what OCR has read")
    attempts: int = Field(3, ge=1, le=10, description="at a caption, while the checks find something wrong")
    checks: CaptionChecks = CaptionChecks()
    tolerate: list[str] = Field(
        ["boilerplate", "subjective"], description="flags with which a caption may still be a training text"
    )
    translator: dict[str, Any] | None = {"backend": "describe_zh"}
    original_translator: dict[str, Any] | None = Field(None, description="of Chinese originals, into English")
    synthetic_share: float = Field(0.5, ge=0, le=1, description="share of synthetic captions among the training texts")
    language: dict[Literal["zh", "en"], float] = Field({"zh": 0.5, "en": 0.5}, description="of the synthetic texts")

    @field_validator("prompts")
    @classmethod
    def _known(cls, prompts: list[str]) -> list[str]:
        odd = next((p for p in prompts if not p.strip() or (" " not in p.strip() and p not in PUBLISHED)), None)
        if odd is not None:
            raise ValueError(f'there is no prompt "{odd}"{nearest(odd, PUBLISHED)}')
        return prompts

    @field_validator("text_prompt")
    @classmethod
    def _with_text(cls, prompt: str) -> str:
        if "{text}" not in prompt:
            raise ValueError("write {text} where the text that OCR has read belongs")
        return prompt

    @field_validator("language")
    @classmethod
    def _sums(cls, language: dict[str, float]) -> dict[str, float]:
        if not (all(v >= 0 for v in language.values()) and abs(sum(language.values()) - 1) <= 1e-6):
            raise ValueError("the shares must add up to 1")
        return language


class CaptionEval(Section):
    """The captioners that human evaluators compare, as in Table 2 of the Kolors paper."""

    sample: int = Field(500, ge=1, description="images")
    captioners: dict[Name, Captions] = Field(
        {}, description="name: what `captions` would say; default: the recipe's own captions"
    )


class Qualify(Section):
    """The entry test of people who vote: gold images, whose level is known, before any other."""

    items: int = Field(20, ge=1, le=1000, description="gold images")
    share: float = Field(0.8, gt=0, le=1, alias="pass", description="share that must be answered rightly")


class Annotation(Section):
    """Human voting on images."""

    votes: int = Field(3, ge=1, le=99, description="votes asked for each image")
    qualify: Qualify | None = Field(None, description="entry test, such as {items: 20, pass: 0.8}; default: none")
    gold: float = Field(0.0, ge=0, le=0.5, description="share of gold images among those that a person is given")
    order: Literal["random", "level5", "uncertain"] = Field(
        "random", description="what is asked first: chance, the likely Level 5, or what the model doubts most"
    )
    blur_from: float = Field(0.1, ge=0, le=1, description="images with `unsafe` above this are blurred until revealed")
    lease_minutes: float = Field(10, ge=1, le=1440, description="time for which an image is kept for a person")
    link_days: float = Field(30, gt=0, le=3650, description="time for which a personal sign-in link works")
    previews: Bytes = Field(2_000_000_000, description="bytes of resized images that are kept, such as 2 GB")
    ratings: str | None = Field(None, description="CSV or Parquet of generated images to rate: prompt, image, model")
    database: str | None = Field(
        None,
        exclude=True,  # it may hold a password, which is kept in no copy of the recipe
        description="postgresql://USER@HOST/NAME, for several servers; default: CURATE_ANNOTATION_DATABASE, "
        "or an SQLite file in the workspace",
    )


class Buckets(Section):
    """Aspect-ratio buckets to which the product's images are assigned."""

    area: int = Field(1_048_576, ge=64 * 64, description="pixels of one bucket, at most")
    step: int = Field(64, ge=8, description="sides are multiples of this")


class Quality(Section):
    """A condition for images of the quality phase, in addition to Level 5."""

    where: str | None = Field(None, description="one SQL predicate")


class Shards(Section):
    """The product: shards, their images and the quality phase."""

    samples_per_shard: int = Field(1000, ge=1, le=10_000)
    strip_metadata: bool = Field(True, description="remove EXIF, XMP, comments; pixels, orientation and ICC stay")
    buckets: Buckets = Buckets()
    quality: Quality = Quality()


class Resources(Section):
    """Resources of one worker on a Ray cluster."""

    cpus: float = Field(1, gt=0, description="cores; shares such as 0.5 are allowed")
    gpus: float = Field(0, ge=0, description="GPUs; shares such as 0.25 are allowed")
    memory: Bytes = Field(0, description="memory to be reserved, such as 4 GB; 0: none in particular")

    @property
    def demand(self) -> Demand:
        """The resources that a task without models requests from the cluster."""
        return Demand(self.cpus, self.gpus, self.memory)


STAGES = ("index", "score", "caption", "build-shards")
"""Stages whose work is placed on workers."""


class WorkerResources(Section):
    """Resources of the workers of a Ray cluster, by signal and by stage."""

    signals: dict[str, Resources] = Field({}, description="by signal; the others have what `stages.score` says")
    stages: dict[str, Resources] = Field({}, description="by stage: index, score, caption, build-shards")

    @model_validator(mode="before")
    @classmethod
    def _by_kind(cls, values: Any) -> Any:
        odd = next((key for key in values if key not in cls.model_fields), None) if isinstance(values, dict) else None
        if odd is not None and not get_close_matches(str(odd), cls.model_fields):
            kind = "stages" if odd in STAGES else "signals"
            also = ", or for the signal of that name under signals" if odd == "caption" else ""
            raise ValueError(f'"{odd}" belongs under {kind}: write ray.resources.{kind}.{odd}{also}')
        return values

    def of_stage(self, stage: str) -> Resources:
        """Returns the resources of one worker of a stage: by default, one core."""
        return self.stages.get(stage, Resources())

    def of_signal(self, name: str) -> Resources:
        """Returns the resources of one worker that computes a signal: by default, those of the stage `score`."""
        return self.signals.get(name, self.of_stage("score"))


class Ray(Section):
    """Settings of `engine: ray`: the cluster, and the resources of its workers."""

    address: str | None = Field(
        None, description="auto or HOST:PORT; default: RAY_ADDRESS, else a Ray started for the run"
    )
    resources: WorkerResources = WorkerResources()


class Card(Section):
    """Parts of the dataset card that cannot be computed."""

    pretty_name: str | None = None
    license: str = "other"
    description: str = ""
    notes: list[str] = []


class Recipe(Section):
    """The whole recipe."""

    name: Name
    workspace: str
    engine: Literal["local", "ray"] = "local"
    workers: int | None = Field(None, ge=1, description="worker processes; default: one a core")
    worker_memory: Bytes | None = Field(None, description="what one worker may hold; default: its share of the machine")
    ray: Ray = Ray()
    image_timeout: float = Field(60, gt=0, description="seconds that one micro-batch may take")
    corpora: list[Corpus] = Field(min_length=1)
    models: str | None = Field(None, description="folder of model checkpoints; default: CURATE_MODELS")
    signals: dict[str, dict[str, Any]] = Field({}, description="signal: parameters, its backend among them")
    select: Select = Select()
    captions: Captions = Captions()
    caption_eval: CaptionEval = CaptionEval()
    annotation: Annotation = Annotation()
    shards: Shards = Shards()
    card: Card = Card()
    max_failed_share: float = Field(0.05, ge=0, le=1, description="more failed rows than this: exit status 1")

    @field_validator("signals", mode="before")
    @classmethod
    def _empty_signal(cls, signals: Any) -> Any:
        if isinstance(signals, dict):  # "photo:" with nothing behind it means the defaults
            return {name: {} if params is None else params for name, params in signals.items()}
        return signals

    @model_validator(mode="after")
    def _consistent(self) -> "Recipe":
        names = [corpus.name for corpus in self.corpora]
        twice = next((n for n in names if names.count(n) > 1), None)
        if twice:
            raise ValueError(f'corpora: the name "{twice}" is used twice')
        resources = self.ray.resources
        if odd := next((name for name in resources.signals if name not in self.signals), None):
            raise ValueError(f'ray.resources.signals: "{odd}" is no signal of the recipe{nearest(odd, self.signals)}')
        if odd := next((name for name in resources.stages if name not in STAGES), None):
            raise ValueError(f'ray.resources.stages: there is no stage "{odd}"{nearest(odd, STAGES)}')
        if self.select.dedup.needs_phash and "photo" not in self.signals:
            raise ValueError("select.dedup: near and against need the perceptual hash; add `photo: {}` to signals")
        if self.select.dedup.cosine is not None and "embedding" not in self.signals:
            raise ValueError("select.dedup: cosine needs embeddings; add `embedding: {checkpoint: FOLDER}` to signals")
        return self

    @property
    def compared_captioners(self) -> dict[str, Captions]:
        """The captioners that `caption_eval` compares, by name; the recipe's own `captions` if it names none."""
        return self.caption_eval.captioners or {str(self.captions.captioner.get("backend")): self.captions}

    def corpus(self, name: str) -> Corpus:
        """Returns the corpus of that name. Raises UserError if there is none."""
        for corpus in self.corpora:
            if corpus.name == name:
                return corpus
        raise UserError(f'no corpus "{name}" in the recipe{nearest(name, [c.name for c in self.corpora])}')
