"""What an agent can do: bounded tools over the workspace, and errors that a model can act on."""
