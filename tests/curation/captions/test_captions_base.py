import pytest

from curation.captions import base
from curation.captions.base import load_captioner, load_translator, make_captioner, make_translator
from curation.errors import UserError


def test_backends_are_found_by_the_name_of_their_file():
    assert load_captioner("describe").name == "describe"
    assert load_translator("describe_zh").name == "describe_zh"
    assert "describe" in base.captioners() and "describe" not in base.translators()
    assert "describe_zh" in base.translators() and "describe_zh" not in base.captioners()


@pytest.mark.parametrize("name", ["descibe", "describe_zh", "checks", "base", "", "os", "../describe"])
def test_an_unknown_captioner_is_refused_with_the_nearest_name(name):
    with pytest.raises(UserError, match=r"^captions\.captioner\.backend: there is no captioner .*describe"):
        load_captioner(name)


def test_an_unknown_translator_is_refused_with_the_nearest_name():
    with pytest.raises(UserError, match='did you mean "describe_zh"'):
        load_translator("describe-zh")


def test_parameters_come_from_the_recipe():
    captioner = make_captioner({"backend": "describe", "max_text": 20})
    assert captioner.params.model_dump() == {
        "backend": "describe", "min_ocr_confidence": 0.9, "max_text": 20, "max_rich_text": 400,
    }  # fmt: skip
    assert make_translator({"backend": "describe_zh"}).name == "describe_zh"


def test_wrong_parameters_are_refused_by_key():
    with pytest.raises(UserError, match=r'captions\.captioner\.max_txt: .*did you mean "max_text"'):
        make_captioner({"backend": "describe", "max_txt": 20})
    with pytest.raises(UserError, match=r"captions\.captioner\.max_text: .*given: -1"):
        make_captioner({"backend": "describe", "max_text": -1})
    with pytest.raises(UserError, match=r"captions\.translator\.beams"):
        make_translator({"backend": "describe_zh", "beams": 4})


def test_a_backend_without_its_method_cannot_be_made():
    class Half(base.Captioner):
        name = "half"
        version = 1

    with pytest.raises(TypeError):
        Half(base.PluginParams())
