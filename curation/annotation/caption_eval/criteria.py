"""Tells evaluators what the ends of each criterion's scale mean, in English and Chinese.

The meanings are those of the paper's scales (Kolors, section 2.1.2), the words are ours.
"""

from curation.annotation.caption_eval.files import Criterion

CRITERIA_HELP: dict[Criterion, dict[str, str]] = {
    "completeness": {
        "en": "How much of the picture does the caption mention? 5: every object. 1: less than 30 % of them.",
        "zh": "描述涵盖了画面中的多少内容？5 分：提到所有物体；1 分：提到的物体不足 30%。",
    },
    "correlation": {
        "en": "How much of the foreground does the caption mention? 5: everything in it. 1: less than 30 % of it.",
        "zh": "描述涵盖了画面主体（前景）的多少内容？5 分：前景内容全部提到；1 分：提到的不足 30%。",
    },
    "hallucination": {
        "en": "How much of the text is not in the picture? 5: nothing is invented. 1: more than half of the text is.",
        "zh": "文字中有多少内容在画面里并不存在？5 分：没有任何虚构；1 分：一半以上的文字是虚构的。",
    },
    "subjectivity": {
        "en": "How many sentences give an impression instead of what can be seen? 5: none. 1: more than half of them.",
        "zh": "有多少句子是主观感受，而不是画面中看得见的内容？5 分：一句也没有；1 分：一半以上的句子。",
    },
}
"""For each criterion, the question and the meaning of 5 and 1, by language (`en` and `zh`)."""
