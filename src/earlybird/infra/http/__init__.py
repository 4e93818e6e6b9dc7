"""HTTP: the application that every service starts from, and the server that runs it."""
