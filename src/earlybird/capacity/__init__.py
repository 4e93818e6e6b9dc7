"""How much of everything a launch of some size needs: measured costs, and a model over them. No I/O."""
