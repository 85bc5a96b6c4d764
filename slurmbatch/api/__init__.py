"""The HTTP side: Falcon resources over `Batches`, errors as problem+json, an OpenAPI document."""

from slurmbatch.api.app import create_app

__all__ = ["create_app"]
