"""The LoRA of the `sdxl` generator, trained on the shop's own photos."""
