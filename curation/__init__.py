"""Turns a raw corpus of web images into training data for a bilingual text-to-image model."""
