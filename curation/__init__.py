"""Turns a raw corpus of web images into training data for a bilingual text-to-image model."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # nothing is downloaded at run time, whatever a library would like to do
