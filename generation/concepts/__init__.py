"""Concepts (textual inversions, LoRAs and what else trained weights come as): read, checked, and put to work."""
