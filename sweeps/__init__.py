"""Sweep files to points, and the engines that run them."""
