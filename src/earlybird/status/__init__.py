"""What every process tells of itself at `/metrics` and `/readyz`, what is wrong with it, and what to do first."""
