"""What every implementation of a port has to pass; plug-ins run the same checks as the built-in ones."""
