"""Reads the samples files, of which the index writes one for each raw shard, and checks sidecars against them."""

import base64
import json
from collections.abc import Collection
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from curation.errors import StageError, UserError
from curation.recipe.sections import Corpus
from curation.workspace import Workspace
from curation.workspace.digests import canonical
from curation.workspace.files import footer, read_table, stamps, write_text
from curation.workspace.ledger import IndexLine, Ledger


def meta_schema(workspace: Workspace, corpora: list[str], keep: bool = False) -> pa.Schema:
    """Returns all `meta_*` columns of the indexed shards; a column whose type differs gets the wider type, or text.

    Args:
        workspace: the workspace.
        corpora: names of the corpora.
        keep: whether to store the result in the workspace, since computing it reads an entry of every shard; the
            caller must hold the workspace's lock.
    """
    folders = stamps([str(workspace.samples(corpus, "").parent) for corpus in corpora])  # change with any file in them
    key = canonical([str(workspace.root.resolve()), corpora, folders])
    path = workspace.ledger("meta").with_suffix(".json")
    if key not in meta_schemas:
        meta_schemas.clear()
        meta_schemas[key] = _kept_schema(path, key) or _all_meta(workspace, corpora)
    if keep:
        write_text(path, json.dumps({"of": key, "schema": _as_text(meta_schemas[key])}))
    return meta_schemas[key]


_SPELLING = "spelling"


def _all_meta(workspace: Workspace, corpora: list[str]) -> pa.Schema:
    ledger = Ledger[IndexLine](workspace, "index")
    lines = (known_shard(workspace, ledger, c, shard) or {} for c in corpora for shard in workspace.shards(c))
    fields: dict[str, pa.DataType] = {}
    for name in dict.fromkeys(meta for line in lines if (meta := line.get("meta"))):
        for f in _from_text(ledger.definitions[name]):
            known = fields.get(f.name, pa.null())
            fields[f.name] = f.type if known in (pa.null(), f.type) else _wider(known, f.type)
    columns = numbered(fields)
    return pa.schema([pa.field(columns[name], kind, metadata={_SPELLING: name}) for name, kind in fields.items()])


def numbered(names: Collection[str]) -> dict[str, str]:
    """Returns the column for each name as the corpora spell it: SQL knows no case, so that twins get a number.

    Of names that differ only in case, the one in lower case comes first, and the others have a number from 2 on:
    `meta_license` and `META_LICENSE` are `meta_license` and `meta_license_2`.
    """
    columns: dict[str, str] = {}
    taken = {name.lower() for name in names}
    first: set[str] = set()
    for name in sorted(names, key=lambda name: (name != name.lower(), name)):
        column, number = name, 1
        if name.lower() in first:
            while column.lower() in taken:
                number += 1
                column = f"{name.lower()}_{number}"
        first.add(name.lower())
        taken.add(column.lower())
        columns[name] = column
    return columns


def spelling(field: pa.Field) -> str:
    """Returns the name that the samples files have for a field of `meta_schema`."""
    return (field.metadata or {}).get(_SPELLING.encode(), field.name.encode()).decode()


def _kept_schema(path: Path, key: str) -> pa.Schema | None:
    try:
        kept = json.loads(path.read_text())
        return _from_text(kept["schema"]) if kept["of"] == key else None
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None


def _as_text(schema: pa.Schema) -> str:
    return base64.b64encode(schema.serialize()).decode()


def _from_text(text: str) -> pa.Schema:
    return pa.ipc.read_schema(pa.py_buffer(base64.b64decode(text)))


meta_schemas: dict[str, pa.Schema] = {}


def _wider(a: pa.DataType, b: pa.DataType) -> pa.DataType:
    if pa.types.is_null(b):
        return a
    try:
        return pa.unify_schemas([pa.schema({"x": a}), pa.schema({"x": b})], promote_options="permissive")[0].type
    except pa.ArrowException:
        return pa.string()


def samples_notes(workspace: Workspace, corpus: str, shard: str) -> dict[str, str]:
    """Returns the notes in a samples file's footer. Raises UserError if the shard is not indexed."""
    notes = footer(workspace.samples(corpus, shard))
    if notes is None:
        raise UserError(f"{corpus}/{shard} is not indexed; run `curate index RECIPE`")
    return notes


def known_shard(workspace: Workspace, ledger: Ledger[IndexLine], corpus: str, shard: str) -> IndexLine | None:
    """Returns the index ledger's entry of a shard; None if the shard is not indexed.

    If the ledger is lost, the entry holds what the samples file says: `rows`, `footer` and `meta`.
    """
    line = ledger.current(corpus, shard, [f"{workspace.root}/samples/{corpus}/{shard}.parquet"])
    if line is not None and (not line.get("meta") or line["meta"] in ledger.definitions):
        return line
    path = workspace.samples(corpus, shard)
    notes = footer(path)
    known = ledger.lines.get(f"{corpus}/{shard}")
    if notes is not None and known is not None and known.get("footer") == notes and _whole(path):  # the file was copied
        line = ledger.add(corpus, shard, known | ledger_line(path, {}))
    elif notes is not None:
        line = ledger.add(corpus, shard, ledger_line(path, {"source": "", "rows": pq.read_metadata(path).num_rows}))
    return line


def distrust(workspace: Workspace, corpus: str, shard: str) -> None:
    """Notes that a raw shard's bytes are not those of its samples, so that the next index reads it again."""
    path = workspace.samples(corpus, shard)
    notes: IndexLine = {"source": "", "rows": pq.read_metadata(path).num_rows}
    Ledger[IndexLine](workspace, "index", writable=True).add(corpus, shard, ledger_line(path, notes))


def _whole(path: Path) -> bool:
    try:
        read_table(path)
    except StageError:
        return False
    return True


def ledger_line(samples: Path, notes: IndexLine) -> IndexLine:
    """Returns a shard's ledger entry: `notes`, the stamp and footer of its samples file, and its `meta_*` columns."""
    schema = pq.read_schema(samples)
    meta = pa.schema([f for f in schema if f.name.startswith("meta_")])
    return {
        "files": stamps([str(samples)]),
        **notes,
        "footer": footer(samples),
        "meta": base64.b64encode(meta.serialize()).decode() if len(meta) else None,
    }


def raw_path(corpus: Corpus, workspace: Workspace, shard: str) -> str:
    """Returns the path of a raw shard, which the index recorded in the footer of the samples file."""
    return shard_path(corpus, footer(workspace.samples(corpus.name, shard)) or {})


def shard_path(corpus: Corpus, notes: dict[str, str]) -> str:
    """Returns the path of a raw shard from the notes in the footer of its samples file."""
    return "/".join(part for part in (corpus.path.rstrip("/"), notes.get("source", "")) if part)


def check_aligned(samples: pa.Table, sidecar: pa.Table, path: Path) -> None:
    """Checks that row i of a sidecar belongs to row i of the samples file. Raises StageError if the keys differ."""
    if not samples["key"].equals(sidecar["key"]):
        raise StageError(f"{path} does not fit its samples file, which is newer; run the stage that makes it again")
