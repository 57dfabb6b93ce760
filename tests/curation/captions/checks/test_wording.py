import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.captions.checks.check import check_caption, unquoted
from curation.captions.checks.wording import OTHER_WORDS, REFUSALS, SUBJECTIVE, any_of, in_another_language, trimmed

DOG = "A dog on a bench."
FRAMES = [
    "The image shows ", "The picture depicts ", "This photo features ", "The photograph captures ", "This image is of ",
    "The image you provided shows ", "The photo that you've shared shows ", "The image you’ve uploaded is ",
    "The image provided shows ", "The picture above depicts ", "In the image you provided, ", "The scene shows ",
    "This scene depicts ", "The scene is ", "In this scene, ",
    "The provided image shows ", "The image here displays ", "the image appears to show ",
    "This is a photo of ", "This is an image showing ", "It is a picture of ", "This is the photo of ",
    "This is a picture that shows ", "A photo of ", "An image showing ", "Photo of ", "This is ", "Here is ", "Here's ",
    "In this image, we can see ", "In the picture we see ", "In this photo, you can see ", "We can see ", "Here we see ",
    "In this image, ", "In the image ", "The image is ", "The image appears to be ",
    "Sure, ", "Sure! ", "Certainly! Here is a description: ", "Of course. Here's a detailed caption of the image:\n\n",
    "Here is the caption: ", "Certainly! Here is a description of the image:\nThe image shows ", "OK. ",
    "Answer: ", "Caption: ", "**Description:** ", "**Description**: ", "**Caption**\n", "Image description: ", "## Caption: ",
    "Description of the image: ", "# A Dog\n\n", "### ", "**A good dog**\n\nThe image shows ", "Answer: In this image, ",
    " \n ",
]  # fmt: skip


@pytest.mark.parametrize("opening", FRAMES)
def test_what_says_nothing_is_taken_away(opening):
    assert trimmed(f"{opening}a dog on a bench.") == ("a dog on a bench." if opening.isspace() else DOG)
    assert "boilerplate" not in check_caption(trimmed(f"{opening}a dog on a bench."))


@pytest.mark.parametrize(
    "text, left",
    [
        ("This is a photo of two cats", "Two cats"),
        ("In this image there are three dogs.", "There are three dogs."),
        ("In the image, it is raining.", "It is raining."),
        ("This is a black-and-white photo of a street.", "A black-and-white photo of a street."),
        ("The image is a close-up of a flower.", "A close-up of a flower."),
        ('The image shows "OPEN" in red.', '"OPEN" in red.'),
        ("The image shows iPhones on a desk.", "iPhones on a desk."),
        ("The image shows élan vital.", "Élan vital."),
        (
            "The image shows a dog.\n\nIt  sleeps\ton *a* mat , \u201cthere\u201d.",
            "A dog. It sleeps on *a* mat , \u201cthere\u201d.",
        ),
        ("The photo shows a photo of a dog.", "A dog."),
    ],
)
def test_what_is_left(text, left):
    assert trimmed(text) == left


@pytest.mark.parametrize(
    "text",
    [
        "",
        "A dog.",
        "a dog",
        "The image shows",
        "The image shows.",
        "The image shows that it is raining.",
        "The image shows how a dog jumps.",
        "The picture is of.",
        "This black and white photograph captures a cat.",
        "The painting shows a cat.",  # as with black and white: what kind of picture it is
        "The screenshot depicts a desktop with icons.",
        "This photo, taken at night, shows a cat.",
        "The scene of the crime is taped off.",
        "A scene of a film.",
        "A photo of a dog hangs on the wall.",
        "A man holds a photo of a dog.",
        "In the picture frame on the wall, a child smiles.",
        "In the image of the saint, gold shines.",
        "Sure-footed goats climb.",
        "The answer: 42.",
        "#1 racing car on a track.",
        "Here comes a train.",
        "A clock: 10:30.",
        "图片显示一只狗。",
        "**",
        "Answer:",
        "\ud800",
    ],
)
def test_what_stays(text):
    assert trimmed(text) == text


@given(
    st.text(max_size=60) | st.lists(st.sampled_from([*FRAMES, "a dog", "that", "\n", " ", "“", "ß", "!"])).map("".join)
)
def test_trimming_twice_is_trimming_once(text):
    once = trimmed(text)
    assert trimmed(once) == once
    assert once[1:] in " ".join(text.split())


@pytest.mark.parametrize(
    "text",
    [
        "This photo, taken at night, shows a cat.",
        "The image you shared shows that it rains.",
        "The scene captures how it rains.",
    ],
)
def test_a_frame_that_cannot_be_taken_away_is_found(text):
    assert check_caption(trimmed(text)) == ["boilerplate"]


@pytest.mark.parametrize(
    "text", ["The painting shows a cat.", "This screenshot shows a desktop.", "The scene of a play on a stage."]
)
def test_what_kind_of_picture_it_is_is_no_frame(text):
    assert check_caption(text) == []


REFUSING = [
    "Please provide the image you would like me to caption.",
    "Please upload a clear image and try again.",
    "There is no image attached to this message.",
    "There was no photo provided to look at.",
    "No image has been uploaded.",
    "The image is not attached here.",
    "Unfortunately, the image could not be loaded.",
    "It seems that your picture didn't load.",
    "I don't see any image.",
    "I do not currently have the ability to look.",
    "I can not say what it is.",
    "Unable to view the content.",
    "We are unable to access the image.",
    "As a language model, pictures are beyond me.",
    "I am just a large language model without eyes.",
]
NOT_REFUSING = [
    "A sign about the history of a language model.",
    "A slide on how to train a language model.",
    "A poster asks visitors to please keep off the grass.",
    "There is no car in the street, and no picture on the wall.",
    "A ball that the dog is unable to see lies behind the wall.",
    "An open file cabinet with the image of a saint on it.",
    "A picture frame that has not been hung yet.",
]


@pytest.mark.parametrize("text", REFUSING)
def test_who_speaks_of_itself_or_of_no_picture_refuses(text):
    assert check_caption(text) == ["refusal"]


@pytest.mark.parametrize("text", NOT_REFUSING)
def test_what_tells_of_such_things_is_no_refusal(text):
    assert check_caption(text) == []


OTHER_LANGUAGES = [
    "Ein Mann in einer roten Jacke reitet auf einem braunen Pferd am Strand entlang.",
    "Die Katze und der Hund liegen auf dem Sofa neben einer Lampe, und im Hintergrund ist ein Fenster zu sehen.",
    "Un homme en veste rouge monte un cheval sur la plage au coucher du soleil.",
    "L'image d'une femme avec un chapeau est posée sur la table dans le salon.",
    "Un hombre con una chaqueta roja monta un caballo marrón por la playa al atardecer.",
    "Una mujer a la izquierda mira a un perro que corre en el parque.",
    "Una donna in piedi con un cappello rosso accanto a un cane nella piazza della città.",
    "Um homem com uma jaqueta vermelha monta um cavalo na praia ao pôr do sol.",
    "Een man in een rode jas is op een paard in het bos, met een hond.",
    "En man i en röd jacka rider på en häst och en hund står bredvid ett träd.",
    "En mand med en rød jakke rider på en hest ved et hus og en å.",
    "Mężczyzna w czerwonej kurtce jedzie na koniu przy plaży, pies jest na piasku przed nim.",
    "Kırmızı ceketli bir adam sahilde bir at ile yürüyor ve arka planda bir köpek var.",
    "Seorang pria dengan jaket merah menunggang kuda di pantai dan dua anjing berlari di air.",
    "Một người đàn ông mặc áo đỏ cưỡi ngựa trên bãi biển với hai con chó ở bên.",
]
ENGLISH = [
    "Red apple, green pear, two plates, white table, grey wall, lamp, chair, window",
    "Crème de la crème bakery, red awning, glass door, two chairs, small round table",
    "A poster of the Tour de France and a plate of pasta alla norma on a table in Los Angeles.",
    "A man at the Café de la Paix in Paris reads Le Monde, and a woman drinks café au lait.",
    "A street in Rio de Janeiro with a view of the Copacabana Palace and the Avenida das Flores.",
    "The die is cast: a red die and a hat lie in a van on the men's side of a den.",
    "Hotel La Casa de las Flores in Los Angeles, Calle del Sol",
    "Restaurant El Toro",
]  # fmt: skip


@pytest.mark.parametrize("text", OTHER_LANGUAGES)
def test_other_languages_in_latin_script_are_not_english(text):
    assert "not_english" in check_caption(text)
    assert in_another_language(f"{text} {text}")


@pytest.mark.parametrize("text", ENGLISH)
def test_lists_and_foreign_names_in_english_are_english(text):
    assert check_caption(text) == []


@pytest.mark.parametrize("text", OTHER_LANGUAGES)
def test_a_foreign_sentence_in_quotes_is_the_pictures(text):
    assert check_caption(f"A page reads “{text}” in large red letters on white paper.") == []


def test_no_word_of_another_language_is_common_in_english():
    english = " ".join(ENGLISH[5:6] + DESCRIBING + NOT_REFUSING + SUBJECTIVE_ONES).lower().split()
    assert OTHER_WORDS.isdisjoint(english)


SUBJECTIVE_ONES = [
    "The trees along the road create a sense of depth.",
    "Soft light gives the room a warm and inviting feel.",
    "The warm colours evoke nostalgia.",
    "The scene exudes calm.",
    "The smile conveys a feeling of joy.",
    "String lights contribute to a cozy, festive atmosphere.",
    "The overall mood is peaceful.",
    "The atmosphere of the scene is lively.",
    "A red scarf adds a touch of elegance.",
    "The fog adds to the mysterious atmosphere of the forest.",
    "The clouds add drama to the sky.",
    "It feels like an old film.",
    "The wall gives the impression that the house is old.",
    "The path invites the viewer to walk on.",
    "The red umbrella draws the viewer's attention.",
    "A bright door draws the eye.",
    "A mural captures the essence of summer.",
    "The bridge is a testament to human skill.",
    "The ruins serve as a reminder of the past.",
    "A white dove symbolizes peace.",
    "A stunning sunset over the sea.",
    "A breathtaking view of the mountains.",
    "The composition is visually striking.",
    "A river shows the beauty of nature.",
    "The garden is beautiful.",
    "The view is truly magnificent.",
    "The man is likely a farmer.",
    "Two women, possibly sisters, sit on a bench.",
    "Perhaps it has rained.",
    "Wet streets suggest that it has rained.",
    "His posture, suggesting a long day, is bent.",
    "The crowd implies a concert.",
    "A suitcase hints at a journey.",
    "They might be waiting for a train.",
    "The building may have been a church.",
    "The children appear to be enjoying the day.",
    "She seems to be lost in thought.",
    "One can almost imagine the sound of waves.",
]
DESCRIBING = [
    "A beautiful garden with roses and a cute dog.",
    "A woman in a red dress looks at the camera with her back to the viewer.",
    "A man feels the fabric of a coat in a shop.",
    "A teacher gives a book to a child.",
    "A chef adds salt to the soup.",
    "A conveyor belt carries boxes; one conveys coal.",
    "The planet has rings and a band of clouds.",
    "A mood board with cards lies beside a mood ring.",
    "A box that appears to be made of wood.",
    "A boat can be seen in the distance, and a hill could be seen behind it.",
    "Hints of blue in a grey sky.",
    "A sign indicates the direction to the exit.",
    "A calendar shows May 2020.",
    "A visually impaired man with a white cane.",
    "A beauty salon beside a bank.",
    "An unlikely pair: a duck on a horse.",
    "A bottle with the label spirit level stands there.",
    "The text \"Imagine a stunning, breathtaking life\" is printed on a shirt.",
    "A sign reads 'Perhaps tomorrow' there.",
    "A man in a suit with a suggested route on a map.",
    "Two viewers stand before a painting.",
    "A dog catches a ball while a boy draws a house.",
    "Sunlight falls through tall windows onto a wooden floor.",
]  # fmt: skip


@pytest.mark.parametrize("text", SUBJECTIVE_ONES)
def test_impressions_judgements_and_guesses_are_subjective(text):
    assert check_caption(text) == ["subjective"]


@pytest.mark.parametrize("text", DESCRIBING)
def test_what_describes_is_not_subjective(text):
    assert check_caption(text) == []


@pytest.mark.parametrize("rules", [REFUSALS, SUBJECTIVE])
def test_a_word_under_which_a_pattern_is_kept_lets_it_be_found(rules):
    """A text is searched only for the patterns of its words, so none may match a text without one of its words."""
    everything = [
        *SUBJECTIVE_ONES,
        *DESCRIBING,
        *REFUSING,
        *NOT_REFUSING,
        "I'm sorry, as an AI I cannot assist.",
        "I am not able to. I apologise.",
    ]
    for text in everything:
        words = unquoted(text).lower().translate(dict.fromkeys(map(ord, ',.!"'), " ")).split()
        assert any_of(rules, words) == any(pattern.search(" ".join(words)) for pattern in rules.values())
