"""Measures slurmbatch beside its peers, all in one run, on a private real Slurm: `make bench`."""
