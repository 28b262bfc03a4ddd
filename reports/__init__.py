"""Finished runs to tables, plots, pages."""
