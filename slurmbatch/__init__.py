"""slurmbatch: a REST bridge to Slurm."""

__version__ = "0.1.0"
