"""Networks and layers; torch and einops only, nothing of the project but common."""
