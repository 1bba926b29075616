"""The activity `take_turn`: the tool calls of the last answer, then the model's next answer, each exactly once."""
