"""Lists the rows of the paper's table of captioners, which are printed below a user's own results.

Kolors: Effective Training of Diffusion Model for Photorealistic Text-to-Image Synthesis, Kuaishou, 2024, Table 2.
"""

from dataclasses import dataclass

TITLE = "published (Kolors, Table 2)"
IMAGES, EVALUATORS = 500, 10


@dataclass(frozen=True, slots=True)
class Published:
    """A row of the paper's table: the mean length in Chinese characters, and the means of the scores, 1 to 5."""

    captioner: str
    length: float
    completeness: float
    correlation: float
    hallucination: float
    subjectivity: float
    avg: float


ROWS = (
    Published("LLaVA1.5-13B", 33.51, 3.90, 4.24, 4.69, 4.21, 4.26),
    Published("InternLM-XComposer-7B", 64.71, 3.92, 4.15, 4.69, 4.27, 4.26),
    Published("CogAgent-VQA", 129.38, 4.55, 4.50, 4.28, 4.46, 4.45),
    Published("CogVLM-1.1-chat", 99.7, 4.54, 4.54, 4.64, 4.51, 4.56),
    Published("GPT-4V", 43.89, 4.75, 4.60, 4.78, 4.52, 4.66),
)
