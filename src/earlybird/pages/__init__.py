"""The pages: what a person sees in a browser. They know the system by its public API alone, and keep nothing."""
