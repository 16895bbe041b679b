"""Where agents run: hardened containers, used once, with an exec server inside. Nothing in them is trusted."""
