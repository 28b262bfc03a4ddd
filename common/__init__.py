"""What every package may use: errors, options, files, pictures, messages."""
