"""Raw corpora: how they are listed, read and indexed."""
