"""The command line. `main` stays light: everything else is loaded for the word that asks for it."""
