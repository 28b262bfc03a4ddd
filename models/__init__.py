"""Networks and layers; nothing of the project but ``common``."""
