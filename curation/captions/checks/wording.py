"""Checks the wording of an English caption: opening frames, refusals, subjective statements, other languages.

The rules concern the wording alone. Rules about the presence of a phrase get the caption in lower case, with plain
apostrophes and without quoted text, since text in an image may say anything.
"""

import re
from collections.abc import Mapping, Sequence

Rules = Mapping[str, re.Pattern[str]]
"""Patterns by word: every match of a pattern contains its word, so that texts without the word are not searched."""


def _rules(patterns: Mapping[str, str]) -> Rules:
    """Makes rules from patterns by space-separated words; every match contains at least one of the words."""
    return {word: re.compile(rf"\b(?:{pattern})\b") for words, pattern in patterns.items() for word in words.split()}


_NOUN = "(?:image|picture|photo|photograph|attachment|file)s?"
_GIVEN = "(?:attached|provided|uploaded|included|shared|loaded|displayed|given)"
_VIEW = "(?:view|process|analy[sz]e|interpret|describe)"

REFUSALS = _rules({
    "sorry": "i'm sorry|i am sorry",
    "apologize apologise": "i apologi[sz]e",
    "ai": "as an ai",
    "language": "(?:as|i am|i'm|i am just|i'm just|i am only|i'm only) an? (?:[a-z-]+ )?language model",
    "i": (
        "i (?:don't|do not|didn't|did not) (?:[a-z]+ly )?(?:see|have|find|view|receive) "
        f"(?:(?:any|an|the|a|your) (?:[a-z]+ )?{_NOUN}|(?:the |any )?(?:access|ability))"
    ),
    "please": (
        "please (?:re-?)?(?:provide|upload|share|attach|send|supply|check)(?: me| us)?(?: with)? "
        f"(?:the|an?|your|another|more|any) (?:[a-z-]+ ){{0,2}}{_NOUN}"
    ),
    "image images picture pictures photo photos photograph photographs attachment attachments file files": (
        f"no {_NOUN} (?:(?:is|was|were|are|has been|have been|seems to be|appears to be) )?{_GIVEN}"
        f"|(?:the|your|this) {_NOUN} (?:is not|was not|isn't|wasn't|has not been|hasn't been) {_GIVEN}"
        f"|(?:the|your|this) {_NOUN} (?:could not|couldn't|cannot|can't|can not|did not|didn't|failed to)(?: be)? "
        "(?:load|display|open|process|view|access)(?:ed)?"
    ),
    "cannot can't not": "i (?:cannot|can't|can not)",
    "unable able": (
        f"i(?:'m| am) (?:unable|not able)|unable to {_VIEW}"
        f"|unable to (?:see|access|load|open|display|identify) (?:the|this|your|any|an?) (?:[a-z]+ )?{_NOUN}"
    ),
    "assist": "(?:cannot|can't|can not|unable to) assist",
})  # fmt: skip
"""Phrases of refusal: the model speaks of itself, or of an image it did not get, instead of the image's content."""

_MOOD = "(?:atmosphere|ambian?ce|ambience|mood(?! (?:board|ring|light))|vibes?|aura)"
_IMPRESSION = (
    f"(?:{_MOOD}|sense|feel|feeling|feelings|emotions?|impression|charm|warmth|tranquility|serenity|nostalgia|joy|drama"
    "|mystery|intrigue|whimsy|elegance|sophistication)"
)
_PRAISE = (
    "beautiful gorgeous lovely wonderful amazing magnificent charming delightful impressive striking inviting "
    "appealing pleasing remarkable fascinating incredible perfect adorable cute"
)
_ONE_WHO_LOOKS = "(?:(?:the )?(?:viewer|observer|onlooker)(?:'?s)?|(?:the|one's|our) (?:eye|gaze|attention))"

SUBJECTIVE = _rules({
    # Effects on the viewer, and moods.
    "sense feeling impression": "(?:an?|the|any) (?:[a-z-]+ ){0,2}(?:sense|feeling|impression) (?:of|that)",
    "atmosphere ambiance ambience mood vibe vibes aura": (
        f"an? (?:[a-z-]+ ){{1,3}}{_MOOD}|(?:overall|general|whole) (?:[a-z-]+ )?{_MOOD}"
        f"|{_MOOD} (?:of|in) (?:the|this) (?:image|picture|photo|photograph|scene|setting|room|space|moment|place)"
        f"|{_MOOD} (?:is|feels|seems|appears|suggests)"
    ),
    "evoke evokes evoking evoked": "evok(?:es?|ing|ed)",
    "exude exudes exuding exuded": "exud(?:es?|ing|ed)",
    "convey conveys conveying conveyed": f"convey(?:s|ing|ed)? (?:[a-z-]+ ){{0,3}}{_IMPRESSION}",
    "add adds adding added": (
        f"add(?:s|ing|ed)? (?:to the (?:[a-z-]+ ){{0,3}}|an? (?:[a-z-]+ )?(?:touch|element|layer|hint|sense|air) of "
        f"|(?:[a-z-]+ ){{0,2}}){_IMPRESSION}|add(?:s|ing|ed)? to the overall"
    ),
    "feels": "feels (?:like|as if|as though|so|very)",
    "gives give giving": f"giv(?:es?|ing) (?:off )?(?:[a-z-]+ ){{0,6}}{_IMPRESSION}",
    "viewer viewer's viewers observer observer's onlooker eye gaze attention": (
        "(?:invit|captivat|engag|encourag|transport|leav|remind|immers|challeng|prompt|mak|allow|tempt|draw|catch)"
        f"(?:e|es|s|ing|ed)? (?:in )?{_ONE_WHO_LOOKS}"
    ),
    "essence spirit": "(?:essence|spirit) of",
    "testament": "testament to",
    "reminder": "reminder (?:of|that)",
    "symbolizes symbolises symbolizing symbolising": "symboli[sz](?:es|ing)",
    # Praise of the image or its content. An adjective before its noun ("a beautiful garden") says little, but claims
    # nothing; as a predicate ("the garden is beautiful") it is a judgement, and the point of the sentence.
    "stunning breathtaking mesmerizing mesmerising captivating enchanting awe-inspiring picture-perfect": (
        "stunning|breathtaking|mesmeri[sz]ing|captivating|enchanting|awe-inspiring|picture-perfect"
    ),
    "visually aesthetically": "(?:visually|aesthetically) (?!impaired)[a-z]+",
    "beauty": "(?:the|natural|its|their|her|his) beauty",
    _PRAISE: (
        "(?:is|are|looks?|truly|simply|absolutely|incredibly) (?:very |so |quite |truly |simply |really )?"
        f"(?:{_PRAISE.replace(' ', '|')})"
    ),
    # Guesses at what is not visible: causes, intentions, feelings, the past and the future.
    "likely probably possibly presumably perhaps maybe seemingly": (
        "(?:likely|probably|possibly|presumably|perhaps|maybe|seemingly)"
    ),
    "suggest suggests suggesting suggested": (
        "suggest(?:s|ing)? (?:that|an?|the|it|he|she|they|some|this)|suggested that"
    ),
    "implies implying": "impl(?:ies|ying)",
    "hinting hints hint": "hint(?:s|ing)? at",
    "may might could": "(?:may|might|could) (?:also )?(?:have|be(?! seen| read| found))",
    "appears appear seems seem": (
        "(?:appears?|seems?) to be (?:[a-z]+ly )?(?:enjoying|having (?:fun|a)|in (?:love|pain|thought)|lost in|deep in"
        "|happy|content|sad|relaxed|excited|focused|interested|engaged|thinking|feeling|waiting|contemplating"
        "|celebrating)"
    ),
    "imagine": "(?:can|could|might|to) (?:almost )?imagine",
})  # fmt: skip
"""Phrases of a caption that gives impressions instead of what is visible: the criterion Subjectivity in Table 2 of the
Kolors report. These are the phrases that models use most; plain adjectives describe, and are not among them."""

_OTHERS = (
    "der das und ist ein eine einen einem einer eines mit auf dem sich sind nicht im zu von vor neben einige"  # German
    " le la les un une est dans et sur avec qui du aux ses sont il elle devant pour"  # French
    " el los las una con del que por su y hay está sobre unos unas al junto lado"  # Spanish
    " di che della dello dei delle gli nel nella sono alla uno sul sulla è accanto"  # Italian
    " um uma com da em ao dos das na nos nas são não ele ela perto"  # Portuguese
    " de het een op en zijn met naast aan voor staat naar wordt"  # Dutch
    " och är ett som på med av det till står bredvid og er den foran ved"  # Swedish, Danish, Norwegian
    " jest się przy przed oraz są który se je za před vedle"  # Polish, Czech
    " bir ve bu ile için üzerinde olan var yanında arka içinde"  # Turkish
    " yang dan dengan ini itu dari untuk sebuah seorang pada adalah ke atas depan sedang"  # Indonesian, Malay
    " một và của trên với các có đang trong người là bên"  # Vietnamese
    " și pe cu este unei unui lângă egy az és egyik"  # Romanian, Hungarian
)
OTHER_WORDS = frozenset(_OTHERS.split())
"""Function words of other languages in Latin script, without those that are also English words (die, van, hat, on)."""
TELLING = REFUSALS.keys() | SUBJECTIVE.keys() | OTHER_WORDS
"""A text without any of these words, like most captions, is not in another language, not subjective and no refusal."""

_ENGLISH = (
    "a an the of and or is are was were in on at to with by for from into as it its his her their he she they them "
    "this that these those there which who while one two has have behind beside between near next above under over"
)
_ENGLISH_WORDS = frozenset(_ENGLISH.split())
_LETTERS = re.compile(r"[^\W\d_]+")
MIN_WORDS, MIN_OTHER_WORDS = 8, 4


def in_another_language(text: str) -> bool:
    """Returns whether the function words of a text are those of another language.

    It is so for a text of MIN_WORDS or more with MIN_OTHER_WORDS function words of other languages, and fewer of
    English. About every third word of a sentence is a function word, in English as elsewhere, but a list ("red apple,
    green pear") may have none. Function words of other languages count only in lower case, or as the first word, since
    a name (La Paz) has them in capitals.
    """
    words = _LETTERS.findall(text[:1].lower() + text[1:])
    others = [word for word in words if word in OTHER_WORDS]
    if len(words) < MIN_WORDS or len(others) < MIN_OTHER_WORDS or len(set(others)) < 2:
        return False
    return len(others) > sum(word.lower() in _ENGLISH_WORDS for word in words)


_PICTURE = (
    "(?:(?:provided|given|attached|above|following|uploaded|shared) )?(?:image|picture|photo|photograph)"
    "(?: (?:here|provided|above|attached"
    "|(?:that )?you(?:['\u2019]ve| have)? (?:provided|shared|uploaded|attached|sent)))?"
)
_SHOWS = (
    "(?:shows|depicts|displays|features|captures|presents|portrays|illustrates|contains|showcases|represents|is of"
    "|is showing|is depicting|consists of|appears to (?:show|depict)|seems to (?:show|depict))"
)
_OF = "(?:of|showing|depicting|featuring)"
_A_THING = "(?=(?:an?|the|one|two|three|four|five|six|several|some|many) )"
_IN_IT = rf"in (?:the|this) (?:{_PICTURE}|scene)"

BOILERPLATE = re.compile(
    rf"(?:(?:this|it|here) is |it's |here's )?(?:an?|the|this) {_PICTURE} "
    rf"(?:{_SHOWS}|{_OF}|(?:is|appears to be|seems to be) (?:an?|the))\b|{_PICTURE} {_OF}\b"
    rf"|(?:the|this) scene (?:{_SHOWS}|(?:is|appears to be|seems to be) (?:an?|the))\b"
    rf"|(?:the|this) {_PICTURE}, [^.!?]{{1,100}}, {_SHOWS}\b"
    rf"|{_IN_IT}(?:,| (?:there|we|you|one|i)\b)|(?:here )?(?:we|you|one) (?:can )?(?:also )?see\b"
    r"|(?:here is|here's|here are|sure|certainly|of course)\b",
    re.IGNORECASE,
)
"""An opening frame such as "The image shows", which says nothing of this image. An opening that names the kind of image
("This black-and-white photo shows", "The painting depicts") does say something and is no frame. An aside within the
frame ("This photo, taken at night, shows") also says something, but belongs to what is shown, so this is a frame."""

_FRAME = re.compile(
    rf"(?:this is|here is|here's|it is|it's) (?:an?|the) {_PICTURE} (?:{_OF}|(?:that|which) {_SHOWS}) "
    # "A photo of a dog hangs on a wall" is no frame.
    rf"|(?:an? )?{_PICTURE} {_OF} (?![^.!?]{{0,200}} (?:is|are|was|hangs?|sits?|stands?|lies|appears?) )"
    rf"|(?:the|this) (?:{_PICTURE}|scene) (?:{_SHOWS} |(?:is|appears to be|seems to be) {_A_THING})"
    rf"|(?:{_IN_IT},? )?(?:here )?(?:we|you|one|i) (?:can )?(?:also )?see "
    rf"|(?:this is|here is|here's|here are) {_A_THING}",
    re.IGNORECASE,
)
"""A frame that can be removed if the name of a thing follows."""
_NO_THING = re.compile(
    r"(?:that|how|what|why|where|when|whether|if|to|it|as|of|and|or|but|is|are|was|were|be|by|off|up|us|you|him|her|them"
    r"|me|itself|themselves)\b",
    re.IGNORECASE,
)
_ASIDE = re.compile(
    rf"{_IN_IT}(?:, | (?=there (?:is|are) )| {_A_THING})"
    r"|(?:sure|certainly|of course|absolutely|okay|ok)(?: thing)?[!,.] "
    r'|(?:here is|here\'s|here are|below is|the following is) [^:"“.!?]{0,100}: ',
    re.IGNORECASE,
)
"""An aside that can be removed from any sentence."""
_LABEL = re.compile(
    r"(\*\*|__)?(?:(?:detailed|image|english|short) ){0,2}(?:answer|caption|description|response)"
    r"(?: of the (?:image|picture|photo))?(?::(?(1)\1)|(?(1)\1:?|:)) |#{1,6} ",
    re.IGNORECASE,
)
_TITLE = re.compile(r"(?:#{1,6} [^\n]*|\*\*[^*\n]*\*\*[ \t]*)\n")
_SAYS_SOMETHING = re.compile(r"[\W_]*\w")
_CASED_WORD = re.compile(r"\w?[^\W_]*[A-Z]")


def trimmed(text: str) -> str:
    """Removes what a model puts before the caption proper, and joins the caption into one line.

    Removed, repeatedly, are a title line in Markdown, a label ("Answer:", "**Description:**"), a greeting ("Certainly!
    Here is a caption:") and a frame ("The image shows", "This is a photo of", "In this image, we can see"); then the
    first letter is capitalised. White space becomes single spaces. Nothing else changes: a frame that the sentence
    needs ("The image shows that …") stays, and `check_caption` finds it.
    """
    text = text.strip()
    title = _TITLE.match(text)
    line = " ".join(text[title.end() if title else 0 :].split())
    at = 0
    while (end := _opening(line, at)) > at:
        at = end
    return _capital(line[at:]) if at or title else line


def _opening(line: str, at: int) -> int:
    """Returns where the removable opening that begins at `at` ends; `at` if there is none."""
    for pattern in (_LABEL, _ASIDE, _FRAME):
        match = pattern.match(line, at)
        if match and not (pattern is _FRAME and _NO_THING.match(line, match.end())):
            return match.end() if _SAYS_SOMETHING.match(line, match.end()) else at
    return at


def _capital(line: str) -> str:
    """Capitalises the first letter, unless the first word has a capital within, such as iPhone."""
    first = line[:1].upper()
    return line if _CASED_WORD.match(line) or len(first) > 1 else first + line[1:]


def any_of(rules: Rules, words: Sequence[str]) -> bool:
    """Returns whether a text contains a phrase of these rules.

    Args:
        rules: the rules.
        words: the text's words, in lower case and without punctuation.
    """
    if rules.keys().isdisjoint(words):
        return False
    text = " ".join(words)
    return any(rules[word].search(text) for word in rules.keys() & words)
