"""The commands `store check`, `store repair` and `store gc`: care for the stores of this home."""
