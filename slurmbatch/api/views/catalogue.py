"""What may be asked for: tools and filesystems."""

from __future__ import annotations

from slurmbatch.api.answers import FilesystemView, ParameterView, ToolView
from slurmbatch.api.views import parts
from slurmbatch.model import Filesystem, Parameter, Tool


def tool(tool: Tool) -> ToolView:
    hardware, slurm = tool.hardware, tool.slurm
    return {
        "id": tool.id,
        "description": tool.description,
        "parameters": [_parameter(each) for each in tool.parameters],
        "hardware": {
            "filesystems": list(hardware.filesystems),
            "cpu": hardware.cpu,
            "memory": hardware.memory,
            "max_cpu": hardware.max_cpu,
            "max_memory": hardware.max_memory,
        },
        "slurm": {
            "default": parts.slurm(slurm.default),
            "partitions": list(slurm.partitions),
            "accounts": list(slurm.accounts),
            "qos": list(slurm.qos),
            "max_time_limit": slurm.max_time_limit,
            "max_gpus": slurm.max_gpus,
        },
        "retry": parts.retry(tool.retry),
    }


def filesystem(filesystem: Filesystem) -> FilesystemView:
    return {
        "id": filesystem.id,
        "path": filesystem.path,
        "description": filesystem.description,
    }


def _parameter(parameter: Parameter) -> ParameterView:
    return {
        "name": parameter.name,
        "type": parameter.type,
        "description": parameter.description,
        "required": parameter.required,
        "default": parameter.default,
        "minimum": parameter.minimum,
        "maximum": parameter.maximum,
        "max_length": parameter.max_length,
        "pattern": parameter.pattern,
        "choices": list(parameter.choices),
    }
