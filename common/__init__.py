"""What every room may use: user errors, names, files. Imports nothing of the project."""
