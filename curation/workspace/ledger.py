"""Records what each stage has done, one line for each shard, so that the rest of 10⁵ shards is known in seconds.

The files are authoritative: a line counts only while the files that it names have the size and time recorded in it. A
lost or torn line costs one more look at its shard, and the whole ledger may be deleted.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Generic, TypedDict, TypeVar, cast

from curation.workspace.digests import digest
from curation.workspace.files import Stamp, stamps, write_text
from curation.workspace.folder import Workspace


class LedgerLine(TypedDict, total=False):
    """The keys of any stage's line. Any key may be absent, since another version may have written the line."""

    shard: str
    """`CORPUS/SHARD`, which the ledger adds; the product's phase stands in the corpus's place."""
    files: list[Stamp]
    """Stamps of the files for which the line counts, the samples file first; every line that was read has them."""
    mark: str | dict[str, Any]
    """The inputs from which the files were made; a recorded line holds their short name, see `Ledger.define_mark`."""


class IndexLine(LedgerLine, total=False):
    """The line of stage `index` for a raw shard. If the ledger was lost, it has only what the samples file says."""

    source: str | None
    """Digest of the raw shard when it was indexed; empty if it is not known, None if the raw shard is gone."""
    rows: int
    """Number of rows of the samples file."""
    failed: int
    """Number of rows whose image cannot be read."""
    gone: int
    """Number of rows whose image no longer exists."""
    without_image: int
    """Number of entries of the raw shard that have no image, for which there are no rows."""
    damage: str | None
    """The reason why the raw shard could be read only in part; None if it was read whole."""
    reasons: dict[str, int]
    """Number of failed rows by reason."""
    footer: dict[str, str] | None
    """The notes in the samples file's footer; None if the file was lost after it was written."""
    meta: str | None
    """The `meta_*` columns as a schema in base64; a recorded line holds its short name. None if there are none."""


class ScoreLine(LedgerLine, total=False):
    """The line of stage `score` for a shard."""

    rows: int
    """Number of rows of the samples file."""
    failed: dict[str, int]
    """Number of failed rows by signal and reason, such as `photo truncated`."""
    scored: dict[str, int]
    """Number of rows by the signal that was computed for them."""
    passed: int
    """Number of rows that passed all predicates."""


class CaptionLine(LedgerLine, total=False):
    """The line of stage `caption` for a shard."""

    captioned: int
    """Number of rows for which a caption was attempted."""
    failed: dict[str, int]
    """Number of rows without a caption or without a translation, by reason, such as `caption too_short`."""


class BuildLine(LedgerLine, total=False):
    """The line of stage `build-shards` for a shard of the product."""

    failed: dict[str, int]
    """Number of rows left out because their image cannot be used, by reason."""


LineT = TypeVar("LineT", bound=LedgerLine)


class Ledger(Generic[LineT]):
    """The ledger of one stage. Anyone may read it; only the run that holds the workspace's lock writes it.

    Long values that many lines share (parameters, predicates, schemas) are defined once and referred to by their
    digest.

    Args:
        workspace: the workspace of the ledger.
        stage: name of the stage.
        writable: whether new lines are written to the file; the caller must then hold the lock.
    """

    SHARED = ("meta",)
    """Keys of a line whose values are defined once."""

    def __init__(self, workspace: Workspace, stage: str, writable: bool = False) -> None:
        self.path = workspace.ledger(stage)
        self.writable = writable
        self.lines: dict[str, LineT] = {}
        """The last line of each shard, by `CORPUS/SHARD`."""
        self.definitions: dict[str, Any] = {}
        self.facts: dict[str, Any] = {}
        """Facts about the stage as a whole, by name."""
        self._changes: dict[tuple[str, str], str] = {}
        self._read = 0
        for line in _lines(self.path):
            self._read += 1
            if isinstance(name := line.get("define"), str):
                self.definitions[name] = line.get("as")
            elif isinstance(name := line.get("fact"), str):
                self.facts[name] = line.get("is")
            elif isinstance(name := line.get("shard"), str) and isinstance(line.get("files"), list):
                self.lines[name] = cast(LineT, line)

    def current(self, corpus: str, shard: str, files: Iterable[str]) -> LineT | None:
        """Returns the shard's line if its files are still those for which it was written; otherwise None."""
        line = self.lines.get(f"{corpus}/{shard}")
        return line if line is not None and line.get("files") == stamps(files) else None

    def define(self, value: Any) -> str:
        """Returns the short name of a value, and records the definition if it is new."""
        name = digest(value)[:16]
        if name not in self.definitions and self._append({"define": name, "as": value}):
            self.definitions[name] = value
        return name

    def note(self, name: str, value: Any) -> None:
        """Records a fact about the stage as a whole."""
        if self.facts.get(name) != value:
            self._append({"fact": name, "is": value})
            self.facts[name] = value

    def define_mark(self, mark: Mapping[str, Any]) -> str:
        """Returns the short name of a mark: the inputs of a shard's files, each of which is defined separately."""
        return self.define({part: self.define(value) for part, value in mark.items()})

    def stale(self, corpus: str, shard: str, files: list[str], mark: str) -> str | None:
        """Returns why a shard must be processed again, in words that many shards share; None if it is done.

        Args:
            corpus: name of the corpus.
            shard: name of the shard.
            files: the files that the shard's line covers, the samples file first.
            mark: short name of the inputs from which the files would be made now; see `define_mark`.
        """
        line = self.lines.get(f"{corpus}/{shard}")
        if line is None:
            return "new"
        current = stamps(files)
        if line["files"][:1] != current[:1]:
            return "its images were indexed anew"
        if line.get("mark") != mark:
            return self._change(str(line.get("mark")), mark)
        return None if line["files"] == current else "a file is missing or was changed"

    def _change(self, old: str, new: str) -> str:
        if (old, new) not in self._changes:
            known = self.definitions
            before, now = ({part: known.get(n) for part, n in (known.get(m) or {}).items()} for m in (old, new))
            texts = [
                text
                for part in dict.fromkeys([*before, *now])
                for text in changes(part, before.get(part), now.get(part))
            ]
            self._changes[old, new] = "; ".join(texts) or "what goes into it has changed"
        return self._changes[old, new]

    def add(self, corpus: str, shard: str, line: Mapping[str, object]) -> LineT:
        """Records that a shard is done, and returns the line as recorded.

        The ledger is only a convenience: a failure to write it is ignored.
        """
        shared = {name: self.define(line[name]) for name in self.SHARED if line.get(name)}
        if isinstance(mark := line.get("mark"), dict):
            line = {**line, "mark": self.define_mark(mark)}
        whole = cast(LineT, {"shard": f"{corpus}/{shard}", **line, **shared})
        self.lines[whole["shard"]] = whole
        self._append(whole)
        return whole

    def tidy(self, shards: Iterable[str]) -> None:
        """Rewrites the file without lines of vanished shards and replaced lines, if there are many of these."""
        known = set(shards)
        self.lines = {name: line for name, line in self.lines.items() if name in known}
        if self._read > 2 * (len(self.lines) + len(self.definitions)) + 100:
            definitions = [{"define": name, "as": value} for name, value in self.definitions.items()]
            facts = [{"fact": name, "is": value} for name, value in self.facts.items()]
            lines: list[Mapping[str, object]] = [*definitions, *facts, *self.lines.values()]
            write_text(self.path, "".join(_text(line) for line in lines))

    def _append(self, line: Mapping[str, object]) -> bool:
        """Appends a line to the file, if the ledger is writable; returns False only if writing fails."""
        if not self.writable:
            return True
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            file = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o666)
            try:
                # The line break comes first: a line cannot be joined to one that was torn before it.
                os.write(file, _text(line).encode())
            finally:
                os.close(file)
        except OSError:
            return False
        return True


def changes(name: str, old: Any, new: Any) -> list[str]:
    """Describes the differences between two values, one text for each part: `faces.parameters.min_size: 20 → 30`."""
    if isinstance(old, list) and isinstance(new, list) and len(old) == len(new):
        old, new = dict(enumerate(old)), dict(enumerate(new))
    if isinstance(old, dict) and isinstance(new, dict):
        if old.get("name") != new.get("name"):  # another plug-in, whose parameters all differ
            old, new = old.get("name"), new.get("name")
            return changes(name, old, new)
        return [t for k in dict.fromkeys([*old, *new]) for t in changes(f"{name}.{k}", old.get(k), new.get(k))]
    if old == new:
        return []
    if old is None or new is None:
        return [f"{name} is {'new' if old is None else 'gone'}"]
    return [f"{name}: {_short(old)} → {_short(new)}"]


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    if re.fullmatch("[0-9a-f]{64}", text):
        return text[:12]
    return text if len(text) <= 60 else text[:59] + "…"


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    try:
        data = path.read_bytes()
    except OSError:
        return
    texts = [text for text in data.decode("utf-8", "replace").split("\n") if text]
    try:
        lines = json.loads(f"[{','.join(texts)}]")  # takes a third of the time of parsing lines singly
    except (ValueError, RecursionError):
        lines = [_parsed(text) for text in texts]
    yield from (line for line in lines if isinstance(line, dict))


def _parsed(text: str) -> Any:
    """Parses a line; returns None if it is torn."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _text(line: Mapping[str, object]) -> str:
    return "\n" + json.dumps(line, separators=(",", ":"), ensure_ascii=False)
