"""Use and check a finished run: restore, predict, rerun."""
