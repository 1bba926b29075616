"""The settings of a process.

- Settings are read once, when a command starts, and only here: no other module reads the environment.
- Every setting is a field of `Settings` with a description, and `baton config` lists all of them.
- A setting that grants (network, mounts, submodules, default answers) is given by a person and never by a repository.
- An invalid value is refused with the variable's name and the values it takes; it is never ignored or cut.
- A secret is a `SecretStr`, may lie in a file, and is in `Settings.list_secrets()`, by which logs and payloads are
masked.
- A variable that was renamed keeps its old name as an alias; both at once are an error.
"""
