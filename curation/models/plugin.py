"""What signals, captioners and translators have in common: a name, parameters in the recipe, and models."""

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

    An instance is cheap to make: it describes itself, by its parameters, and loads its models when `load` is called.

    Attributes:
        name: the file's name.
        version: an integer, raised when the output changes for the same input and parameters.
        origins: where the models come from that it was written for.
        Params: its parameters in the recipe. All of them are part of the fingerprint but for those named in
            `placement`, which say where and how fast it runs, not what comes out.
        threads: CPU threads that it may keep busy beside a GPU; set before `load`.
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
        """Its place in the recipe."""
        return self.name

    def files(self) -> dict[str, Path]:
        """The model files by name. Raises UserError if one is missing."""
        return {}

    @property
    def identity(self) -> dict[str, Any]:
        """What its output depends on beside its input, its models, and other plug-ins that it reads."""
        parameters = self.params.model_dump(mode="json", exclude=set(self.placement))
        return {"name": self.name, "version": self.version, "parameters": parameters}

    @property
    def full_identity(self) -> dict[str, Any]:
        """The same with the sha256 of its models."""
        return self.identity | {"models": self.digests()}

    @property
    def noted(self) -> dict[str, Any] | None:
        """What the workspace's last run noted of this very plug-in (`models` and more); None if it did not."""
        found = self.models.noted(self.key)
        return found if found.get("identity") == self.identity else None

    def digests(self) -> dict[str, str]:
        """sha256 of each model file; part of the fingerprint.

        Where the models are not on this machine, it is that of the models that the workspace was made with.

        Raises:
            ModelAbsent: they are not, and nothing was made with this plug-in.
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
        """What it is made with, for people: its model files, with the beginning of their sha256."""
        return ", ".join(f"{name} {sha[:12]}" for name, sha in self.digests().items())

    @property
    def licences(self) -> list[str]:
        """Licences of those of its models that lie where the commands of `origins` put them."""
        try:
            files, folder = self.files().values(), self.models.folder
        except UserError:
            return []
        there = {o for o in self.origins if o.place and folder for f in files if f.is_relative_to(folder / o.place)}
        return [f"{o.name}: {o.licence}" for o in self.origins if o in there]

    def find(self) -> None:
        """Says at once what is missing that it needs: a model file, a key. Raises UserError."""
        self.files()

    def check(self) -> None:
        """Says before any work starts what could not be done: a model that is missing, damaged, or does not fit.

        Raises:
            UserError: in one line that names the file, what was expected and what was found.
        """
        self._file_digests()

    def load(self) -> None:
        """Loads the models, before any image is in hand; called once in each worker that needs them."""
