"""Arithmetic in registers (SIMD): lanes, vectors, tiles, and batches of rows. Nothing here knows of models."""
