"""Reads and writes YAML 1.1 by PyYAML's rules, which recipes and PaddleOCR's configurations follow.

Unlike in the standard, `y` and `n` are text, and so is `1e3`: a number with an exponent has a point, such as `1.0e+3`.
"""

import re
import sys
from io import StringIO
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.emitter import Emitter
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.nodes import CollectionNode, Node, ScalarNode
from ruamel.yaml.representer import SafeRepresenter
from ruamel.yaml.resolver import VersionedResolver, implicit_resolvers

_VERSION = (1, 1)
_PYYAML_PATTERNS: dict[str, Any] = {
    "tag:yaml.org,2002:bool": re.compile(
        r"(?:yes|Yes|YES|no|No|NO|true|True|TRUE|false|False|FALSE|on|On|ON|off|Off|OFF)$"
    ),
    "tag:yaml.org,2002:int": re.compile(
        r"""(?:[-+]?0b[0-1_]+ | [-+]?0[0-7_]+ | [-+]?(?:0|[1-9][0-9_]*) | [-+]?0x[0-9a-fA-F_]+
        | [-+]?[1-9][0-9_]*(?::[0-5]?[0-9])+)$""",
        re.VERBOSE,
    ),
    "tag:yaml.org,2002:float": re.compile(
        r"""(?:[-+]?[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)? | \.[0-9][0-9_]*(?:[eE][-+][0-9]+)?
        | [-+]?[0-9][0-9_]*(?::[0-5]?[0-9])+\.[0-9_]* | [-+]?\.(?:inf|Inf|INF) | \.(?:nan|NaN|NAN))$""",
        re.VERBOSE,
    ),
}
"""Patterns of the values that PyYAML reads as these types; ruamel.yaml's own patterns differ."""


def read_yaml(text: str) -> Any:
    """Reads the one document of a text, as dicts, lists, texts, numbers, booleans, dates and None.

    Raises:
        YAMLError: the text is not YAML, it is nested deeper than Python can follow, or a mapping has a key twice, so
            that a value would be lost silently. A MarkedYAMLError says in `problem` what is wrong and in `problem_mark`
            where.
    """
    try:
        return _yaml().load(text)
    except RecursionError:
        raise MarkedYAMLError(problem="it is nested too deep") from None


def write_yaml(data: Any, width: int = 80) -> str:
    """Returns plain data as a document in block style, with keys in their order, and most lines folded at `width`."""
    yaml, text = _yaml(), StringIO()
    yaml.width = width
    yaml.dump(data, text)
    return text.getvalue()


def _patterns() -> dict[str, list[tuple[str, Any]]]:
    """Returns the types and their patterns by the value's first character, which is "" for an empty value."""
    patterns: dict[str, list[tuple[str, Any]]] = {}
    for versions, tag, pattern, first in implicit_resolvers:
        for character in first if _VERSION in versions else ():
            patterns.setdefault(character, []).append((tag, _PYYAML_PATTERNS.get(tag, pattern)))
    return patterns


class _Resolver(VersionedResolver):
    """Decides the type of a value without quotes, whatever version of YAML the document claims."""

    processing_version = _VERSION
    versioned_resolver = _patterns()


class _Constructor(SafeConstructor):
    """Refuses a key that a mapping has twice, with a message of our own, and a key that is a list or a mapping."""

    def check_mapping_key(self, node: Node, key_node: Node, mapping: dict[Any, Any], key: Any, value: Any) -> bool:
        if isinstance(key_node, CollectionNode):
            raise MarkedYAMLError(problem="a key is a list or a mapping", problem_mark=key_node.start_mark)
        if key in mapping:
            raise MarkedYAMLError(problem=f'the key "{key}" stands twice', problem_mark=key_node.start_mark)
        return True


class _Representer(SafeRepresenter):
    """Writes floats so that they are read as floats again."""

    def represent_float(self, data: float) -> ScalarNode:
        node = super().represent_float(data)
        if "." not in node.value:
            node.value = node.value.replace("e", ".0e")
        return node


_Representer.add_representer(float, _Representer.represent_float)


class _Emitter(Emitter):
    """Quotes and folds values as PyYAML does."""

    def choose_scalar_style(self) -> Any:
        style = super().choose_scalar_style()
        if style == '"' and not self.event.style and self.analysis.allow_single_quoted:
            return '"' if self.simple_key_context and self.analysis.multiline else "'"
        return style

    def write_plain(self, text: str, split: bool = True) -> None:
        """Writes a value folded at single spaces after the first word that ends beyond the width.

        No line ends with a space.
        """
        width, self.best_width = self.best_width, sys.maxsize
        for number, word in enumerate(re.split("(?<! ) (?! )", text)):
            if number and split and self.column > width:
                self.write_indent()
            super().write_plain(word)  # after a space, unless a line has begun
        self.best_width = width

    def write_double_quoted(self, text: str, split: bool = True) -> None:
        super().write_double_quoted(text, split=False)  # where ruamel.yaml folds, a space may be lost


def _yaml() -> YAML:
    """Returns a reader and writer for one document; after an error it cannot be used again."""
    yaml = YAML(typ="safe", pure=True)
    yaml.Resolver, yaml.Constructor, yaml.Representer, yaml.Emitter = _Resolver, _Constructor, _Representer, _Emitter
    yaml.allow_unicode, yaml.default_flow_style = True, False
    yaml.sort_base_mapping_type_on_output = False  # type: ignore[assignment]
    return yaml
