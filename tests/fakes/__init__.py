"""Hand-written stand-ins for what slurmbatch talks to."""
