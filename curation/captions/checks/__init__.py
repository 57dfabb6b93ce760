"""What is wrong with a caption or a translation, each kind of fault in a module of its own."""
