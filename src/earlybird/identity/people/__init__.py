"""People, as those see them who answer their questions: who somebody is, and what happened, step by step."""
