"""The command line `baton`.

- A command is declared in `usage/` (names, options, help; nothing heavy) and done by the module of its name in
  `commands/`, which is imported when the command is called; so help and completion answer at once.
- Results go to stdout, as text or with `--json` as one document; everything else goes to stderr, and `-q` silences it
  except for errors, warnings and questions.
- An expected error is one sentence with a remedy and the exit code of its class; a traceback is a fault of Baton.
- Commands that only read never start a server: they answer from the stores of this home and say so.
- Text from models, repositories and people is cleaned of control characters before a terminal gets it.
- A name that was changed keeps working; it is not listed, and a note names the new one.
"""
