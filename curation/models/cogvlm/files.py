"""Finds the files of a CogVLM checkpoint without torch or transformers, which take seconds to import."""

from functools import cached_property
from pathlib import Path

from curation.errors import UserError
from curation.models.hf_folder import LISTED, HfFolder

TOKENIZERS = ("tokenizer.json", "tokenizer.model")
"""Names of tokenizer files, the preferred first; one of them must exist."""
BESIDE = ("tokenizer_config.json", "special_tokens_map.json", "added_tokens.json")
"""Names of further files of a tokenizer, which are read if they exist."""
IMAGE_SIZE = 490
"""Side in pixels of the square input of the official checkpoint."""


class Files(HfFolder):
    """The files of one checkpoint.

    Args:
        key: the recipe's section, for error messages, such as `captions.captioner`.
        folder: the folder of the weights.
        vocabulary: the folder of the tokenizer; None if it lies beside the weights.
    """

    def __init__(self, key: str, folder: Path, vocabulary: Path | None = None) -> None:
        super().__init__(f"{key}.checkpoint", folder)
        self.vocabulary = HfFolder(f"{key}.tokenizer", vocabulary) if vocabulary else self

    @property
    def all(self) -> dict[str, Path]:
        """All files that are read, by name. Raises UserError if one is missing."""
        return self.files | {f"tokenizer/{path.name}": path for path in self.words}

    @property
    def image_size(self) -> int:
        """Side in pixels of the model's square input. Raises UserError if config.json is damaged or gives no number."""
        vision = self.json("config.json").get("vision_config")
        size = vision.get("image_size", IMAGE_SIZE) if isinstance(vision, dict) else IMAGE_SIZE
        if not isinstance(size, int) or size < 1:
            raise UserError(
                f"{self.folder / 'config.json'}: vision_config.image_size: expected pixels, found {size!r}", self.key
            )
        return size

    @cached_property
    def words(self) -> list[Path]:
        """The tokenizer's files, the tokenizer itself first. Raises UserError if there is none."""
        folder = self.vocabulary.folder
        paths = [path for name in (*TOKENIZERS, *BESIDE) if (path := folder / name).is_file()]
        if not paths or paths[0].name not in TOKENIZERS:
            names = sorted(path.name for path in folder.iterdir())[:LISTED] if folder.is_dir() else []
            advice = "; name the folder of Vicuna's by `tokenizer`" if self.vocabulary is self else ""
            raise UserError(
                f"{folder} has no tokenizer: expected {' or '.join(TOKENIZERS)}, found "
                f"{', '.join(names) or 'nothing'}{advice}",
                self.vocabulary.key,
            )
        return paths
