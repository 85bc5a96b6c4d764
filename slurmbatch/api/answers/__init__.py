"""What the answers look like: the documented fields in the documented order, then our own.

These shapes are the source of the OpenAPI document, and mypy holds `views` to them.
"""

from slurmbatch.api.answers.batches import (
    BatchView,
    DependencyView,
    ListedBatch,
    NotificationView,
    ReasonView,
    ReasonWithLog,
    SpreadView,
    Summary,
    TrialView,
    UsageView,
)
from slurmbatch.api.answers.catalogue import (
    FilesystemView,
    ParameterView,
    ToolHardware,
    ToolSlurm,
    ToolView,
)
from slurmbatch.api.answers.jobs import (
    AttemptView,
    CpuTime,
    JobView,
    ListedJob,
    MaxRss,
    StatusesView,
    Times,
)
from slurmbatch.api.answers.keys import KeyView, NewKeyView
from slurmbatch.api.answers.parts import (
    Arguments,
    Counts,
    HardwareView,
    ListedHardware,
    RetryPolicyView,
    SlurmView,
    Time,
)
from slurmbatch.api.answers.problems import FaultView, LimitView, ProblemView
from slurmbatch.api.answers.service import (
    ActView,
    BusyView,
    IntentsView,
    LooksView,
    OutageView,
    Report,
    ServiceView,
)

__all__ = [
    "ActView",
    "Arguments",
    "AttemptView",
    "BatchView",
    "BusyView",
    "Counts",
    "CpuTime",
    "DependencyView",
    "FaultView",
    "FilesystemView",
    "HardwareView",
    "IntentsView",
    "JobView",
    "KeyView",
    "LimitView",
    "ListedBatch",
    "ListedHardware",
    "ListedJob",
    "LooksView",
    "MaxRss",
    "NewKeyView",
    "NotificationView",
    "OutageView",
    "ParameterView",
    "ProblemView",
    "ReasonView",
    "ReasonWithLog",
    "Report",
    "RetryPolicyView",
    "ServiceView",
    "SlurmView",
    "SpreadView",
    "StatusesView",
    "Summary",
    "Time",
    "Times",
    "ToolHardware",
    "ToolSlurm",
    "ToolView",
    "TrialView",
    "UsageView",
]
