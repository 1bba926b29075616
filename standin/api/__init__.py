"""The Messages API as the stand-in imitates it: types, rules, prompt cache, events, errors."""
