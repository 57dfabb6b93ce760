"""Base class of signals, captioners and translators: a name, parameters in the recipe, and models."""

import os
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict

from curation.errors import UserError
from curation.models.checkpoints import ModelAbsent, Models, Origin


class PluginParams(BaseModel):
    """A plug-in's parameters in the recipe."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    backend: str = ""


class Plugin:
    """Base of all plug-ins. A subclass is one backend.

    An instance is cheap to create: it only holds its parameters; the models are loaded by `load`.

    Attributes:
        name: the plug-in's name, which is that of its file.
        version: an integer, raised when the output changes for the same input and parameters.
        origins: where the models that the plug-in was written for can be fetched.
        Params: class of the plug-in's parameters in the recipe. All parameters are part of the fingerprint but those in
            `placement`.
        placement: names of the parameters that decide where and how fast the plug-in runs, but not its output.
        threads: number of CPU threads that the plug-in may keep busy beside a GPU; set before `load`.
    """

    name: str
    version: int
    origins: tuple[Origin, ...] = ()
    Params: type[PluginParams] = PluginParams
    placement: frozenset[str] = frozenset()
    threads: int = 1

    def __init__(self, params: PluginParams, models: Models | None = None) -> None:
        self.params, self.models = params, models or Models()

    @property
    def key(self) -> str:
        """The plug-in's section in the recipe, such as `captions.captioner`, and its name in the workspace's notes."""
        return self.name

    def files(self) -> dict[str, Path]:
        """Returns the model files by name. Raises UserError if one is missing."""
        return {}

    @property
    def identity(self) -> dict[str, Any]:
        """The values that determine the output, besides the input, the model files and other plug-ins' output."""
        values = self.params.model_dump(mode="json", exclude=set(self.placement))
        parameters = {name: _without_folder(value) for name, value in values.items()}
        return {"name": self.name, "version": self.version, "parameters": parameters}

    @property
    def full_identity(self) -> dict[str, Any]:
        """`identity`, together with the sha256 of the model files."""
        return self.identity | {"models": self.digests()}

    @property
    def noted(self) -> dict[str, Any] | None:
        """The record of the workspace's last run (`models` and more), if it used this very plug-in; else None."""
        record = self.models.noted(self.key)
        return record if record.get("identity") == self.identity else None

    def digests(self) -> dict[str, str]:
        """Returns the sha256 of each model file, which is part of the fingerprint.

        If the models are not on this machine, it returns those of the models that the workspace was made with.

        Raises:
            ModelAbsent: the models are not on this machine, and the workspace was not made with this plug-in.
        """
        try:
            return self._file_digests()
        except ModelAbsent:
            if self.noted is None:
                raise
            return dict(self.noted["models"])

    def _file_digests(self) -> dict[str, str]:
        return {name: self.models.digest(path) for name, path in self.files().items()}

    @property
    def told(self) -> str:
        """The names of the model files with the first digits of their sha256, for people."""
        return ", ".join(f"{name} {sha[:12]}" for name, sha in self.digests().items())

    @property
    def licences(self) -> list[str]:
        """Licences of those models that a package brings, or that lie where the commands of `origins` put them."""
        try:
            files, folder = self.files().values(), self.models.folder
        except UserError:
            return []
        fetched = {o for o in self.origins if o.place and folder for f in files if f.is_relative_to(folder / o.place)}
        return [f"{o.name}: {o.licence}" for o in self.origins if o.place is None or o in fetched]

    def find(self) -> None:
        """Checks, without opening a model, that no model file and no key is missing. Raises UserError if one is."""
        self.files()

    def check(self) -> None:
        """Checks, before any work starts, that the models exist, are undamaged and fit together.

        Raises:
            UserError: one line that names the file, what was expected and what was found.
        """
        self._file_digests()

    def load(self) -> None:
        """Loads the models; called once in each worker that needs them, before the first image."""


def _without_folder(value: Any) -> Any:
    """Returns a parameter; of an absolute path only its last part, since equal models at another place are the same."""
    return Path(value).name if isinstance(value, str) and os.path.isabs(value) else value
