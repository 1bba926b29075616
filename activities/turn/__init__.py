"""The activity `take_turn` and its parts."""
