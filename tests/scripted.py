"""A captioner and a translator that answer by a script, and note their requests.

They stand for a model whose answers can be foreseen. `install` puts them where CURATE_CAPTIONS finds them, so that
worker processes have them too.
"""

import json
from pathlib import Path
from typing import Any

BACKEND = """
import json
import os
import time
from pathlib import Path

from curation.captions.base import Answer, Captioner, Translator
from curation.errors import StageError
from curation.models.plugin import PluginParams


class ScriptedParams(PluginParams):
    folder: str
    style: str = ""
    batch_size: int = 2
    side: int | None = 64


class _Scripted:
    Params = ScriptedParams
    version = 1
    placement = frozenset({"folder", "batch_size"})

    @property
    def batch_size(self):
        return self.params.batch_size

    def answer(self, kind, asked):
        with open(Path(self.params.folder) / "asked.jsonl", "a") as log:
            log.write(json.dumps([kind, asked]) + "\\n")
        script = json.loads((Path(self.params.folder) / "script.json").read_text())
        if script.get("crash") == asked[0]:
            os.kill(os.getpid(), 9)
        if script.get("gone") == asked[0]:
            raise StageError("http://127.0.0.1:1: nobody answers")
        if script.get("raises") == asked[0]:
            raise ValueError("a mistake of the backend")
        said = script[kind].get(asked[0], script[kind].get("*", ""))
        said = said[min(asked[1] if len(asked) > 1 else 0, len(said) - 1)] if isinstance(said, list) else said
        return Answer(**said) if isinstance(said, dict) else Answer(said, tokens_in=10, tokens_out=5, cost=0.001)


class Scripted(_Scripted, Captioner):
    name = "scripted"
    signals = ("ocr",)

    @property
    def side(self):
        return self.params.side

    def caption(self, requests):
        return [self.answer("captions", [r.key.rpartition("/")[2], r.attempt, r.prompt, r.seed]) for r in requests]


class ScriptedTranslator(_Scripted, Translator):
    name = "scripted"

    def translate(self, texts):
        return [self.answer("translations", [text]) for text in texts]
"""


class Script:
    """The script of both backends, and the log of their requests.

    Args:
        folder: the folder to fill; it is made if it is missing. The environment variable CURATE_CAPTIONS is to
            name `folder / "own"`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (folder / "own").mkdir(parents=True, exist_ok=True)
        (folder / "own" / "scripted.py").write_text(BACKEND)
        self.say()

    def say(
        self, captions: dict[str, Any] | None = None, translations: dict[str, Any] | None = None, **more: str
    ) -> None:
        """Sets the answers from now on.

        Args:
            captions: by the image's member, or "*" for all others: a text, the fields of an Answer, or a list of such,
                one for each attempt.
            translations: the same by the text.
            more: `crash`, `gone` or `raises`: the member or text for which the backend fails in this way.
        """
        script = {"captions": captions or {"*": GOOD}, "translations": translations or {"*": GOOD_ZH}}
        (self.folder / "script.json").write_text(json.dumps(script | more))

    def asked(self) -> list[list[Any]]:
        """Returns all requests since the last call: `["captions", [member, attempt, prompt, seed]]` and so on."""
        log = self.folder / "asked.jsonl"
        requests = [json.loads(line) for line in log.read_text().splitlines()] if log.exists() else []
        log.unlink(missing_ok=True)
        return requests

    def members(self, attempt: int | None = None) -> list[str]:
        """Returns the members to be captioned in the requests since the last call, of one attempt or of all."""
        requests = [request for kind, request in self.asked() if kind == "captions"]
        return [request[0] for request in requests if attempt is None or request[1] == attempt]

    @property
    def backend(self) -> dict[str, Any]:
        """Section of the recipe that names the backend."""
        return {"backend": "scripted", "folder": str(self.folder)}


GOOD = "A brown dog sits on a wooden bench in a park."
GOOD_ZH = "一只棕色的狗坐在公园里的一条木制长椅上。"
LOOP = "a dog and a dog and a dog and a dog and a dog and a dog and a dog and a dog"
