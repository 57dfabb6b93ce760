"""Writes moved thresholds into the recipe's file: only the digits that move change, all else stays byte for byte.

ruamel.yaml parses the file into nodes, which give the position of each predicate; the edited text is parsed again and
compared before it replaces the file.
"""

import difflib
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode

from curation.errors import StageError, UserError
from curation.recipe import Recipe, load_recipe
from curation.recipe.thresholds import Threshold, moved, number_text
from curation.recipe.yaml_text import read_yaml
from curation.workspace.files import replacing

WHERE = ("select", "where")


class RecipeText:
    """The text of a recipe's file as last read or written.

    Raises:
        UserError: the file cannot be read.
    """

    def __init__(self, path: Path) -> None:
        self.path = path.resolve()
        self._bytes = self._read()
        self.recipe = load_recipe(self.path)

    @property
    def where(self) -> dict[str, str]:
        """The predicates in the file, by name."""
        return self.recipe.select.where

    def edited(self, recipe: Recipe, moves: Mapping[str, tuple[list[Threshold], Mapping[int, float]]]) -> str:
        """Returns the file's text with moved thresholds.

        Args:
            recipe: the recipe whose predicates the page shows, with overrides applied.
            moves: by predicate, its thresholds, and the new values by number of the threshold.

        Raises:
            UserError: the file's predicate differs from that recipe's, or cannot be edited in place.
        """
        text = self._bytes.decode("utf-8")
        edits: list[tuple[int, int, str]] = []
        for name, (thresholds, values) in moves.items():
            if self.where.get(name) != recipe.select.where[name]:
                raise UserError(
                    f"{self.path}: select.where.{name} was given by --set and is not what the file says; "
                    "start `curate tune` without it to write"
                )
            edits += self._edits(text, name, thresholds, values)
        for start, stop, new in sorted(edits, reverse=True):
            text = text[:start] + new + text[stop:]
        predicates = {name: moved(self.where[name], *move) for name, move in moves.items()}
        before, after = _data(self._bytes.decode("utf-8")), _data(text)
        before["select"]["where"] = before["select"]["where"] | predicates
        if before != after:
            raise self._by_hand(predicates)
        return text

    def diff(self, text: str) -> list[str]:
        """Returns the lines that change, with one line of context, each after its sign: `-`, `+` or a space."""
        old = self._bytes.decode("utf-8").splitlines()
        return list(difflib.unified_diff(old, text.splitlines(), lineterm="", n=1))[2:]

    def write(self, text: str) -> Recipe:
        """Replaces the file, keeping its permissions, and reads it again.

        Raises:
            UserError: the file is write-protected, which a rename over it would not notice.
            StageError: the file has changed on disk since it was read, or cannot be written.
        """
        if self._read() != self._bytes:
            raise StageError(f"{self.path}: changed on disk since it was loaded; start `curate tune` again")
        if not os.access(self.path, os.W_OK):
            raise UserError(f"{self.path}: is write-protected; allow it (chmod u+w) and write again")
        with replacing(self.path) as temporary:
            temporary.write_bytes(text.encode("utf-8"))
            shutil.copymode(self.path, temporary)
        self._bytes = text.encode("utf-8")
        self.recipe = load_recipe(self.path)
        return self.recipe

    def _read(self) -> bytes:
        try:
            return self.path.read_bytes()
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read: {error.strerror}") from None

    def _edits(
        self, text: str, name: str, thresholds: list[Threshold], values: Mapping[int, float]
    ) -> list[tuple[int, int, str]]:
        """Returns the edits of one predicate: start and stop in the file's text, and the new number."""
        sql = self.where[name]
        key, value = self._scalar(text, name)
        # Only white space and comments lie between a key and its own value; the value of an alias lies elsewhere.
        if not re.fullmatch(r"\s*:\s*(#[^\n]*\s*)*", text[key.end_mark.index : value.start_mark.index]):
            raise UserError(f"{self.path}: select.where.{name} is an alias of another value; change that one by hand")
        start, source = value.start_mark.index, text[value.start_mark.index : value.end_mark.index]
        properties = re.match(r"(?:[&!]\S*\s+)*(?:[|>][^\n]*\n)?", source)
        body = properties.end() if properties else 0
        edits = []
        for threshold in thresholds:
            if values.get(threshold.number, threshold.value) == threshold.value:
                continue
            number = sql[threshold.start : threshold.stop]
            pattern = re.compile(re.escape(number))
            in_sql, in_file = (
                [m.start() for m in pattern.finditer(sql)],
                [m.start() for m in pattern.finditer(source, body)],
            )
            if len(in_sql) != len(in_file) or threshold.start not in in_sql:
                raise self._by_hand({name: moved(sql, thresholds, values)})
            at = start + in_file[in_sql.index(threshold.start)]
            edits.append((at, at + len(number), number_text(values[threshold.number])))
        return edits

    def _scalar(self, text: str, name: str) -> tuple[Node, ScalarNode]:
        try:
            node = YAML(typ="rt", pure=True).compose(text)
        except YAMLError as error:
            raise UserError(f"{self.path}: not YAML: {' '.join(str(error).split())}") from None
        key: Node | None = None
        for part in (*WHERE, name):
            pairs = node.value if isinstance(node, MappingNode) else []
            key, node = next(((k, v) for k, v in pairs if k.value == part), (None, None))
        if key is None or not isinstance(node, ScalarNode):
            raise UserError(
                f"{self.path}: select.where.{name} comes from a merge (<<) or an alias; change it there by hand"
            )
        return key, node

    def _by_hand(self, predicates: dict[str, str]) -> UserError:
        changes = "; ".join(f"select.where.{name}: {' '.join(sql.split())}" for name, sql in predicates.items())
        return UserError(f"{self.path}: cannot be edited in place as it is written; change it by hand to {changes}")


def _data(text: str) -> Any:
    try:
        return read_yaml(text)
    except YAMLError as error:
        raise UserError(f"the recipe would no longer be YAML: {' '.join(str(error).split())}") from None
