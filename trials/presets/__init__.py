"""Presets: the settings that the public code of a family ships, as strategy files by name."""
