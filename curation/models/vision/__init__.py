"""Models that describe a picture by numbers: embeddings, classifiers, heads."""
