"""One run from start to end: settings, identity, checkpoints, resume, display."""
