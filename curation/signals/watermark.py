"""The signal `watermark`: the probability that an image has an agency's mark, an author's name or a tiled mark."""

import numpy as np
import pyarrow as pa
from pydantic import Field

from curation.models.checkpoints import Origin
from curation.models.plugin import PluginParams
from curation.models.vision import overlay_marks
from curation.models.vision.overlay_marks import PlacedText
from curation.signals._by_labels import ColumnParams, HfColumns
from curation.signals.base import PerImage, Row, Scores
from curation.signals.photo import bars, gray_512


class ClassicalParams(PluginParams):
    """Parameters of the classical backend."""

    names: tuple[str, ...] = Field((), description="further words that only marks have, such as an agency's name")


class Classical(PerImage):
    """Watermarks by rules, without a trained model, from the text that the signal `ocr` has read and from repetition.

    It finds marks that can be read: a copyright sign, an account, an address or a known name anywhere; any text in a
    corner or across the middle of a photograph; the same text several times. It also finds what is tiled over the
    image, readable or not: in half of all photos at an opacity of 0.1, in most at 0.2.

    It does not find a single mark that the OCR reader misses (two in five at an opacity of 0.4), nor marks without
    letters. It takes a text in the scene for a mark if it is in a corner, and also a patterned wallpaper. In an image
    with much other text, such as a poster or a screen, all evidence counts for little.

    It uses the stored text, since only a reader tells a mark's letters from branches, and most recipes score `ocr`; the
    pixels are used for repetition alone.

    Columns:
        watermark: probability of a watermark, 0..1; a recipe may keep `watermark < 0.5`.
        watermark_kind: the strongest evidence: named, corner, middle, repeated or tiled; null if there is none.
        watermark_boxes: for each line of text that is evidence, [x0, y0, x1, y1, weight]; x and y as shares of width
            and height, 0..1 from the left and the top edge.
    """

    name = "watermark"
    backend = "classical"
    version = 1
    side = 512
    cost = 15.0
    needs = ("ocr",)
    columns = {
        "watermark": pa.float32(),
        "watermark_kind": pa.string(),
        "watermark_boxes": pa.list_(pa.list_(pa.float32())),
    }
    Params: type[PluginParams] = ClassicalParams
    params: ClassicalParams

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        assert row.picture is not None
        gray = gray_512(row.picture.bgr(512))
        boxes = row.signals["text_boxes"] or []
        lines = [
            PlacedText(text, np.array(box[:8], np.float32).reshape(4, 2))
            for text, box in zip((row.signals["text"] or "").split("\n"), boxes, strict=False)
        ]
        mark = overlay_marks.find(lines, gray, bars(gray), self.params.names)
        return {
            "watermark": mark.share,
            "watermark_kind": mark.kind,
            "watermark_boxes": [[round(value, 4) for value in box] for box in mark.boxes],
        }


class WatermarkClassifierParams(ColumnParams):
    """A watermark classifier and the columns that its labels map to."""

    main = "watermark"
    example = "`watermark: {backend: hf_classifier, checkpoint: watermark-siglip2, labels: {Watermark: watermark}}`"


class WatermarkByClassifier(HfColumns):
    """Watermarks by an image classifier of Hugging Face transformers, whose labels the recipe maps to columns.

    Columns:
        watermark: probability of the labels mapped to this column, 0..1.
        others: further columns that the recipe maps labels to, 0..1.
    """

    name = "watermark"
    columns = {"watermark": pa.float32()}
    Params = WatermarkClassifierParams
    params: WatermarkClassifierParams
    origins = (
        Origin(
            "prithivMLmods/Watermark-Detection-SigLIP2 (labels No Watermark, Watermark)",
            "Apache-2.0, say those who use it; read its card",
            "hf download prithivMLmods/Watermark-Detection-SigLIP2 config.json preprocessor_config.json "
            "model.safetensors --local-dir MODELS/watermark-siglip2",
        ),
    )
