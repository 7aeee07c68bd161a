"""Generators that are diffusion models: `sdxl`, and `tiny`, the same classes at a small size."""
