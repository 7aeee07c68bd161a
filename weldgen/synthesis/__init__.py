"""Make synthetic welds and check them."""
