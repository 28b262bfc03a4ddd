"""What a run leaves behind: its folder and its W&B run, written and read back."""
