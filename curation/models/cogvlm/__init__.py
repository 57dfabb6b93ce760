"""CogVLM-1.1-chat in PyTorch, loaded from the published checkpoint by tensor name."""
