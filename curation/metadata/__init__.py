"""Reads what image files say of themselves, without decoding pixels: containers, EXIF, IPTC and XMP."""
