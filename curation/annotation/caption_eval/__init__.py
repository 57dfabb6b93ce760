"""Scores caption quality as in the Kolors paper: people score captions without knowing which captioner wrote them.

Kolors: Effective Training of Diffusion Model for Photorealistic Text-to-Image Synthesis, Kuaishou, 2024, section 2.1.2
and Table 2: ten evaluators score the captions of 500 images by completeness, correlation, hallucination and
subjectivity, from 1 to 5, where higher is better in all four (a caption that invents nothing has hallucination 5).
"""
