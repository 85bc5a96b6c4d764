"""A private, real Slurm for trying out and for tests. It knows nothing of the rest."""

from slurmbatch.sandbox.cluster import Sandbox
from slurmbatch.sandbox.errors import ComponentFailed, MissingPrograms, SandboxError
from slurmbatch.sandbox.supervise import ComponentStatus

__all__ = ["ComponentFailed", "ComponentStatus", "MissingPrograms", "Sandbox", "SandboxError"]
