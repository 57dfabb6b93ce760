"""The signal `provenance`: what an image's metadata say of its making, licence and author. It reads no pixels."""

import re
from collections.abc import Iterable

import pyarrow as pa

from curation.metadata import c2pa, exif, iptc, xmp
from curation.metadata.blocks import Blocks, read_blocks
from curation.signals.base import PerImage, Row, Scores
from curation.texts import without_controls

LONGEST = 500
"""Characters to which a text of the metadata is cut."""
AI_EVIDENCE = (
    "c2pa",  # a C2PA manifest with the digital source type of generative AI
    "iptc",  # the same source type as IPTC's property in XMP
    "aigc",  # the label that GB 45438-2025 asks for, in XMP or a PNG text: Label 1, generated
    "sd_webui",  # generation parameters of Stable Diffusion WebUI and what follows its form, in PNG text or EXIF
    "comfyui",  # a prompt or workflow of ComfyUI, in PNG text or EXIF
    "novelai",  # NovelAI's PNG texts
    "invokeai",  # InvokeAI's PNG texts
    "midjourney",  # a description that ends with Midjourney's job ID
    "software",  # the name of a generator as software, camera, credit or creator
)
"""What may say that an image is made by AI; where several do, the first of them is given."""

_EXT = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/DigitalSourceType"
_AIGC = "http://www.tc260.org.cn/ns/AIGC/1.0/AIGC"
_DC = "http://purl.org/dc/elements/1.1/"
_RIGHTS = "http://ns.adobe.com/xap/1.0/rights/"
_PHOTOSHOP = "http://ns.adobe.com/photoshop/1.0/"
_TIFF = "http://ns.adobe.com/tiff/1.0/"
_LICENCES = ("http://creativecommons.org/ns#license", f"{_RIGHTS}WebStatement", f"{_RIGHTS}UsageTerms", f"{_DC}rights")
_MAKERS = ("http://ns.adobe.com/xap/1.0/CreatorTool", f"{_TIFF}Software", f"{_TIFF}Make", f"{_PHOTOSHOP}Credit")
_MINING = "http://ns.useplus.org/ldf/xmp/1.0/DataMining"
_TDMREP = ("http://www.w3.org/ns/tdmrep/reservation", "http://www.w3.org/ns/tdmrep#reservation")

_GENERATED = frozenset(("trainedalgorithmicmedia", "compositewithtrainedalgorithmicmedia"))
"""IPTC's digital source types of media that a generative model has made, wholly or in part; in lower case."""
_LABEL = re.compile(r'"Label"\s{0,9}:\s{0,9}"?1\b')
_PARAMETERS = re.compile(r"\bSteps: \d{1,4}, (?:Sampler|Size|Schedule type): ")
_JOB = re.compile(r"\bJob ID: [0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_GENERATOR = re.compile(
    r"\b(?:midjourney|dall[·\- ]e|dall-?e[ -]?[23]|stable[ -]diffusion|novelai|comfyui|invokeai|fooocus|automatic1111"
    r"|adobe firefly|black forest labs|(?:made|edited) with google ai|draw things|diffusionbee|leonardo\.ai"
    r"|ideogram\.ai|bing image creator)(?!\w)|(?<!not )(?<!no )(?<!non-)\bai[- ]generated\b",
    re.IGNORECASE,
)
_NO_AI = re.compile(r"\bno-?(?:image-?)?ai\b", re.IGNORECASE)


class Provenance(PerImage):
    """What the metadata in an image's file claim of its origin, read from the bytes; no pixels are decoded.

    It cannot know what is not written: most web sites strip metadata, and what they leave anyone can write or remove.
    So a null proves nothing; that an image was not made by AI, or may be used, is never claimed. No signature is
    checked. JPEG, PNG, WebP, TIFF and AVIF are looked into; GIF and BMP have nulls. Damaged metadata count as none.

    Columns:
        ai_generated: true if the metadata say that a generative model has made the image or a part of it; else null.
        ai_evidence: which of AI_EVIDENCE says so; null if none does.
        has_c2pa: whether the file holds a manifest store of C2PA (Content Credentials).
        licence_tag: the first of the licence (cc:license), its web statement, the terms of use and the copyright in
            XMP, and the copyright in IPTC, EXIF and PNG texts; at most 500 characters, without control characters.
        creator_tag: the creators in XMP, else IPTC's by-line, EXIF's artist, or the author in PNG texts; as above.
        tdm_reserved: whether the rights in text and data mining are reserved (PLUS Data Mining, TDMRep in XMP, C2PA's
            or CAWG's assertion on data mining); false only if one of them says so and none the contrary; else null.
        noai: whether training of AI is prohibited (PLUS, C2PA or CAWG, or the words noai and noimageai in keywords and
            rights); false and null as above.
        exif_orientation: the orientation in EXIF, 1..8; null without one. Sizes and pixels of all other columns are of
            the upright picture.
    """

    name = "provenance"
    version = 1
    side = 0
    cost = 0.2
    columns = {
        "ai_generated": pa.bool_(),
        "ai_evidence": pa.string(),
        "has_c2pa": pa.bool_(),
        "licence_tag": pa.string(),
        "creator_tag": pa.string(),
        "tdm_reserved": pa.bool_(),
        "noai": pa.bool_(),
        "exif_orientation": pa.int8(),
    }

    def score_one(self, row: Row) -> Scores:
        """See Signal."""
        assert row.picture is not None
        return describe(read_blocks(row.picture.data))


def describe(blocks: Blocks) -> Scores:
    """Returns the columns of the signal for the blocks of metadata of a file."""
    said: dict[str, list[str]] = {}
    for packet in blocks.xmp[:2]:
        for name, values in xmp.properties(packet).items():
            said.setdefault(name, []).extend(values)
    evidence = ai_evidence(blocks, said)
    licences = [value for name in _LICENCES for value in said.get(name, [])]
    licences += blocks.iptc.get(iptc.COPYRIGHT, []) + _tags(blocks, exif.COPYRIGHT) + _texts(blocks, "Copyright")
    creators = [", ".join(said.get(f"{_DC}creator", [])), ", ".join(blocks.iptc.get(iptc.BYLINE, []))]
    creators += _tags(blocks, exif.ARTIST) + _texts(blocks, "Author")
    words = [*said.get(f"{_DC}subject", []), *blocks.iptc.get(iptc.KEYWORDS, []), *licences]
    return {
        "ai_generated": True if evidence else None,
        "ai_evidence": evidence,
        "has_c2pa": bool(blocks.c2pa),
        "licence_tag": _first(licences),
        "creator_tag": _first(creators),
        **reservations(blocks, said, words),
        "exif_orientation": exif.orientation(blocks.exif),
    }


def ai_evidence(blocks: Blocks, said: dict[str, list[str]]) -> str | None:
    """Returns the first of AI_EVIDENCE that speaks for the file, given its XMP properties; None if none does."""
    texts = blocks.texts
    parameters = [texts.get("parameters", ""), exif.user_comment(blocks.exif.get(exif.USER_COMMENT, b""))]
    camera = _tags(blocks, exif.MAKE, exif.MODEL, exif.DESCRIPTION)
    descriptions = [*_texts(blocks, "Description", "Comment"), *camera, *said.get(f"{_DC}description", [])]
    makers = [*_tags(blocks, exif.MAKE, exif.MODEL, exif.SOFTWARE, exif.ARTIST), *_texts(blocks, "Software", "Author")]
    makers += [value for name in _MAKERS for value in said.get(name, [])]
    spoken = {
        "c2pa": {name.lower() for name in c2pa.source_types(blocks.c2pa)} & _GENERATED,
        "iptc": {value.strip().rsplit("/")[-1].lower() for value in said.get(_EXT, [])} & _GENERATED,
        "aigc": any(map(_LABEL.search, [*said.get(_AIGC, []), *_texts(blocks, "AIGC")])),
        "sd_webui": any(map(_PARAMETERS.search, parameters)),
        "comfyui": _is_json(texts.get("prompt", ""), '"class_type"')
        or _is_json(texts.get("workflow", ""), '"nodes"')
        or any(re.match(r'(?i)(?:prompt|workflow): ?\{"', value) for value in camera),
        "novelai": any(value.startswith("NovelAI") for value in _texts(blocks, "Software", "Title", "Source")),
        "invokeai": not texts.keys().isdisjoint(("invokeai_metadata", "invokeai_graph", "sd-metadata")),
        "midjourney": any(map(_JOB.search, descriptions)),
        "software": any(_GENERATOR.search(value[:LONGEST]) for value in makers),
    }
    return next((evidence for evidence in AI_EVIDENCE if spoken[evidence]), None)


def reservations(blocks: Blocks, said: dict[str, list[str]], words: Iterable[str]) -> dict[str, bool | None]:
    """Returns the columns `tdm_reserved` and `noai`.

    Args:
        blocks: the file's blocks of metadata.
        said: its XMP properties.
        words: texts of keywords and rights, in which `noai` may stand.
    """
    mining: list[bool] = []
    training: list[bool] = [True for text in words if _NO_AI.search(text)]
    for value in said.get(_MINING, []):  # PLUS License Data Format 2.0.1, Data Mining
        code = value.strip().rsplit("/")[-1].upper()
        only_training = code.endswith(("PROHIBITED-AIMLTRAINING", "PROHIBITED-GENAIMLTRAINING"))
        if code == "DMI-ALLOWED" or code.startswith("DMI-PROHIBITED"):
            training.append(code != "DMI-ALLOWED")
            mining += [] if only_training else [code != "DMI-ALLOWED"]
    mining += [value.strip() == "1" for n in _TDMREP for value in said.get(n, []) if value.strip() in ("0", "1")]
    for use, word in c2pa.mining(blocks.c2pa):
        (mining if use == "data_mining" else training).append(word != "allowed")
    return {"tdm_reserved": any(mining) if mining else None, "noai": any(training) if training else None}


def _tags(blocks: Blocks, *tags: int) -> list[str]:
    """Returns the texts of those of the EXIF tags that are there."""
    return [exif.text(blocks.exif[tag]) for tag in tags if tag in blocks.exif]


def _texts(blocks: Blocks, *keywords: str) -> list[str]:
    """Returns those of the file's texts that are there."""
    return [blocks.texts[keyword] for keyword in keywords if keyword in blocks.texts]


def _is_json(text: str, key: str) -> bool:
    return text.lstrip().startswith("{") and key in text


def _first(texts: Iterable[str]) -> str | None:
    """Returns the first text that is not blank, in one line, without control characters, cut to LONGEST."""
    cleaned = (" ".join(without_controls(text[: 4 * LONGEST]).split()) for text in texts)
    return next((text[:LONGEST].rstrip() for text in cleaned if text), None)
