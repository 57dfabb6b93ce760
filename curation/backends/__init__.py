"""Models and programs that signals and captions are made with, each behind one small class."""
