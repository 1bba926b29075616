"""The rules of the Messages API: types, order of blocks, prompt cache, models and errors."""
