import pytest
from hypothesis import given
from hypothesis import strategies as st

from curation.captions.checks.numerals import lost_in_chinese, lost_in_english


@pytest.mark.parametrize(
    "english, chinese",
    [
        ("There are 3 cats on 12 mats.", "12张垫子上有3只猫。"),
        ("There are 3 cats on 12 mats.", "十二张垫子上有三只猫。"),
        ("There are 2 cats.", "有两只猫。"),
        ("A bus with the number 35.", "一辆三十五路公共汽车。"),
        ("About 1,500 cats.", "大约1500只猫。"),
        ("From 1920 to 1930.", "起于1920，1930止。"),
        ("About 1.5 tons of sand.", "大约１．５吨沙子。"),
        ("Cats.", "3只猫。"),
        ("A dress of the 1990s.", "20世纪90年代的连衣裙。"),
        ("A dress of the 1990's.", "上世纪九十年代的连衣裙。"),
        ("A dress of the 1990s.", "二十世纪九十年代的连衣裙。"),
        ("A dress of the 1990s.", "90年代的连衣裙。"),
        ("A house of the 1900s.", "20世纪初的房子。"),
        ("A house of 1990.", "一九九〇年的房子。"),
        ("A cheque for $10,000.", "一张1万美元的支票。"),
        ("A cheque for $10,000.", "一张一万美元的支票。"),
        ("A cheque for $15,000.", "一张1.5 万美元的支票。"),
        ("A cheque for 12,500 euros.", "一张一万两千五百欧元的支票。"),
        ("A town of 350,000.", "一座35万人的城市。"),
        ("A town of 1.5 million.", "一座150万人的城市。"),
        ("About 10 thousand people.", "大约一万人。"),
        ("A country of 120,000,000.", "一个1亿2000万人的国家。"),
        ("About 100 birds.", "大约一百只鸟。"),
        ("About 250 birds and 3,000 ants.", "大约二百五十只鸟和三千只蚂蚁。"),
        ("About 105 birds.", "大约一百零五只鸟。"),
    ],
)
def test_kept_in_chinese(english, chinese):
    assert not lost_in_chinese(english, chinese)


@pytest.mark.parametrize(
    "english, chinese",
    [
        ("There are 3 cats on 12 mats.", "垫子上有三只猫。"),
        ("There are 3 cats.", "有四只猫。"),
        ("A house of 1920 by a lake.", "湖边一座192年的房子。"),
        ("A house of 192 square metres.", "一座1920平方米的房子。"),
        ("A dress of the 1990s.", "20世纪80年代的连衣裙。"),
        ("A dress of the 1990s.", "19世纪90年代的连衣裙。"),
        ("A house of the 1900s.", "19世纪的房子。"),
        ("A house of 1990.", "90年代的房子。"),
        ("A cheque for $10,000.", "一张10万美元的支票。"),
        ("A cheque for $15,000.", "一张1万美元的支票。"),
        ("A town of 1.5 million.", "一座15万人的城市。"),
        ("About 100 birds.", "一家百货商店里有鸟。"),
        ("About 100 birds.", "大约一千只鸟。"),
        ("1.2.3 is the 9999999th version.", "一亿" * 5000),
        ("1" * 5000 + " cats.", "猫。"),  # more digits than int() takes
    ],
)
def test_lost_in_chinese(english, chinese):
    assert lost_in_chinese(english, chinese)


@pytest.mark.parametrize(
    "chinese, english",
    [
        ("12张垫子上有3只猫。", "There are 3 cats on 12 mats."),
        ("十二张垫子上有三只猫。", "Three cats on twelve mats."),
        ("十二个鸡蛋。", "A dozen eggs."),
        ("两只鞋。", "A pair of shoes."),
        ("三十五个人。", "Thirty-five people."),
        ("二十个人。", "20 people."),
        ("2020年8月5日。", "August 5th, 2020."),
        ("第3名。", "The third place."),
        ("20世纪的房子。", "A house of the twentieth century."),
        ("１５００只猫。", "About 1,500 cats."),
        ("3万人。", "30,000 people."),
        ("3 万人。", "30,000 people."),
        ("20世纪90年代的连衣裙。", "A dress of the 1990s."),
        ("90年代的连衣裙。", "A dress of the 1990's."),
        ("三只猫\n两条狗。", "Three cats, two dogs."),
        ("一只猫。", "A cat."),
        ("一起坐在十字路口吃三明治。", "Having sandwiches together at a crossroads."),
        ("第三个门。", "A door."),  # an order, not a count
        ("四川的五颜六色的山。", "Colourful mountains in Sichuan."),
    ],
)
def test_kept_in_english(chinese, english):
    assert not lost_in_english(chinese, english)


@pytest.mark.parametrize(
    "chinese, english",
    [
        ("12张垫子上有3只猫。", "There are 3 cats on mats."),
        ("三只猫。", "Two cats."),
        ("两只鞋。", "A shoe."),
        ("三十五个人。", "Thirty people."),
        ("建于1920年。", "Built in 1921."),
        ("20世纪90年代的连衣裙。", "A dress of the 1980s."),
        ("20世纪90年代的连衣裙。", "A dress of 1990."),
        ("三只猫\n四条狗。", "Three cats and dogs."),
        ("1" * 5000, "cats."),
    ],
)
def test_lost_in_english(chinese, english):
    assert lost_in_english(chinese, english)


@given(st.integers(0, 99), st.booleans())
def test_a_number_below_100_is_known_in_the_other_language_and_by_no_other_number(value, capital):
    tens, ones = divmod(value, 10)
    numeral = "零一二三四五六七八九"[value] if value < 10 else f"{'一二三四五六七八九'[tens - 1] if tens > 1 else ''}十"
    numeral += "一二三四五六七八九"[ones - 1] if value >= 10 and ones else ""
    assert not lost_in_chinese(f"There are {value}.", f"共{numeral}。")
    if value >= 2:
        assert lost_in_english(f"{numeral}个", "Nothing.")
        assert not lost_in_english(f"{numeral}个", f"There are {value}.")


@given(st.text(max_size=60), st.text(max_size=60))
def test_any_texts_can_be_asked(source, translation):
    lost_in_chinese(source, translation)
    lost_in_english(source, translation)
