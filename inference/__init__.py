"""Use, check, export and publish a finished run."""
