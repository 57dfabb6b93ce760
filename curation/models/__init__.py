"""Models behind small classes; they know no signal and no caption."""
