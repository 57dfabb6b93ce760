"""Models that describe a picture by numbers: embeddings, classifiers, prediction heads on an embedding."""
