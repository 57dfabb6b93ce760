"""Lists the rows of the paper's table of captioners, which are printed below a user's own results.

Kolors: Effective Training of Diffusion Model for Photorealistic Text-to-Image Synthesis, Kuaishou, 2024, Table 2. Only
figures found in a public text are listed; None stands for a figure that could not be read from the paper itself.
"""

from dataclasses import dataclass

TITLE = "published (Kolors, Table 2)"
IMAGES, EVALUATORS = 500, 10


@dataclass(frozen=True, slots=True)
class Published:
    """A row of the paper's table."""

    captioner: str
    length: float | None = None
    completeness: float | None = None
    correlation: float | None = None
    hallucination: float | None = None
    subjectivity: float | None = None
    avg: float | None = None


ROWS = (
    Published("LLaVA1.5-13B"),
    Published("InternLM-XComposer-7B"),
    Published("CogAgent-VQA"),
    Published("CogVLM-1.1-chat", avg=4.56),
    Published("GPT-4V", avg=4.66),
)
