"""The web app as this process serves it: built files, and one page for every address of the app."""
