"""The text of the settings files of a sandbox."""

from __future__ import annotations

import os
import pwd
import socket
from pathlib import Path

from slurmbatch.sandbox.errors import SandboxError
from slurmbatch.sandbox.paths import Paths
from slurmbatch.sandbox.plan import Plan
from slurmbatch.sandbox.ports import LOOPBACK
from slurmbatch.sandbox.root import Root

CLUSTER = "sandbox"
ACCOUNT = "demo"


def current_user() -> str:
    """The name of whoever runs the sandbox."""
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        raise SandboxError(f"User id {os.geteuid()} has no name, and Slurm needs one.") from None


def short_hostname() -> str:
    return socket.gethostname().partition(".")[0]


def slurm_conf(paths: Paths, plan: Plan) -> str:
    """The settings of slurmctld, slurmd and the commands."""
    shape, root, user, host = plan.shape, paths.root, current_user(), short_hostname()
    last = plan.slurmd_port(shape.node_names[-1])
    return f"""\
# A sandbox of slurmbatch's, for trying out and for tests.
ClusterName={CLUSTER}
SlurmctldHost={host}({plan.address})
SlurmctldPort={plan.slurmctld_port}
{_clients_listen(plan)}
SlurmUser={user}
SlurmdUser={user}
{_plugins(plan)}
# The socket of our own munged has to be named twice.
AuthType=auth/munge
AuthInfo=socket={paths.munge_socket}
CredType=cred/munge
AccountingStoragePass={paths.munge_socket}
{_tokens(paths, plan)}
StateSaveLocation={paths.slurmctld_state}
SlurmdSpoolDir={root}/spool/%n
SlurmctldPidFile={paths.pid_file("slurmctld")}
SlurmdPidFile={paths.pid_file("slurmd-%n")}
SlurmctldLogFile={paths.log_file("slurmctld")}
SlurmdLogFile={paths.log_file("slurmd-%n")}

# Nothing that would need root or cgroups; more CPUs and memory than the machine has.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
MpiDefault=none
MailProg=/bin/true
SlurmdParameters=config_overrides
ReturnToService=2

SchedulerType=sched/backfill
SchedulerParameters=sched_min_interval=100000,batch_sched_delay=0,bf_interval=2,sched_interval=2,default_queue_depth=1000
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
MaxArraySize={shape.max_array_size}
MaxJobCount={shape.max_job_count}
MinJobAge={shape.min_job_age}
InactiveLimit=0
KillWait=5

# Memory is enforced by looking at the jobs every second.
JobAcctGatherType=jobacct_gather/linux
JobAcctGatherFrequency=task=1
JobAcctGatherParams=OverMemoryKill

AccountingStorageType=accounting_storage/slurmdbd
AccountingStorageHost={plan.address}
AccountingStoragePort={plan.slurmdbd_port}
AccountingStorageEnforce=associations,limits,qos

Licenses=scratch:1000,project:1000
NodeName=node[1-{shape.nodes}] NodeHostname={host} NodeAddr={plan.address} \
Port=[{plan.slurmd_port("node1")}-{last}] CPUs={shape.cpus} RealMemory={shape.memory} \
Feature=scratch,project
PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP DefMemPerCPU=100
PartitionName=short Nodes=ALL MaxTime=60 State=UP DefMemPerCPU=100
{shape.extra_conf}
"""


def slurmdbd_conf(paths: Paths, plan: Plan) -> str:
    """The settings of slurmdbd, which hold the database's password."""
    return f"""\
AuthType=auth/munge
AuthInfo=socket={paths.munge_socket}
DbdHost={short_hostname()}
DbdAddr={plan.address}
DbdPort={plan.slurmdbd_port}
{_daemons_listen(plan)}
SlurmUser={current_user()}
{_plugins(plan)}{_tokens(paths, plan)}LogFile={paths.log_file("slurmdbd")}
PidFile={paths.pid_file("slurmdbd")}
StorageType=accounting_storage/mysql
StorageHost={LOOPBACK}
StoragePort={plan.mariadb_port}
StorageUser=slurm
StoragePass={plan.database_password}
StorageLoc=slurm
{plan.shape.extra_dbd_conf}"""


def daemons_conf(paths: Paths, plan: Plan) -> str:
    """The settings of slurmctld and slurmd where they are not those of the commands."""
    # Some slurmstepd starts such programs through itself, by fexecve(3), and that of a root is a
    # script, for which it does not work. So there jobs are given this file.
    prolog = (
        ""
        if plan.shape.root
        else (f"# Jobs would be given this file for theirs.\nTaskProlog={paths.task_prolog}\n")
    )
    return f"include {paths.slurm_conf}\n{_daemons_listen(plan)}\n{prolog}"


def task_prolog(paths: Paths) -> str:
    """What makes each job use the settings of the commands."""
    return f"#!/bin/sh\necho export SLURM_CONF={paths.slurm_conf}\n"


def _plugins(plan: Plan) -> str:
    return f"PluginDir={Root(Path(plan.shape.root)).plugins}\n" if plan.shape.root else ""


def _tokens(paths: Paths, plan: Plan) -> str:
    if not plan.shape.tokens:
        return ""
    return f"AuthAltTypes=auth/jwt\nAuthAltParameters=jwt_key={paths.jwt_key}\n"


def _daemons_listen(plan: Plan) -> str:
    if not plan.loopback_only:
        return "# This host's name is no loopback address, so Slurm listens on all of them."
    return "CommunicationParameters=NoInAddrAny,NoCtldInAddrAny"


def _clients_listen(plan: Plan) -> str:
    if not plan.daemons_apart:
        return _daemons_listen(plan)
    return (
        f"# srun is called back at {LOOPBACK}, so it may not wait at {plan.address} alone, as the\n"
        "# daemons do; so these have settings of their own."
    )


def _bin_dir(paths: Paths, plan: Plan) -> str:
    return f'bin_dir = "{paths.bin}"\n' if plan.shape.root else ""


def mariadb_init(plan: Plan) -> str:
    """What MariaDB does before it takes its first connection."""
    account = f"'slurm'@'{LOOPBACK}'"
    return (
        "CREATE DATABASE IF NOT EXISTS slurm;\n"
        f"CREATE USER IF NOT EXISTS {account} IDENTIFIED BY '{plan.database_password}';\n"
        f"GRANT ALL ON slurm.* TO {account};\n"
    )


def slurmbatch_toml(paths: Paths, plan: Plan) -> str:
    """The settings of slurmbatch's daemon on this sandbox."""
    root = paths.root
    return f"""\
# slurmbatch on a sandbox of its own, for trying out and for tests.
[server]
host = "{LOOPBACK}"
port = {plan.http_port}

[store]
path = "{root}/state/slurmbatch/slurmbatch.sqlite"

[jobs]
log_dir = "{root}/logs"
work_dir = "{root}/work"

[slurm]
conf = "{paths.slurm_conf}"
{_bin_dir(paths, plan)}poll_interval = 0.5
poll_interval_most = 2.0

[tools]
dir = "{root}/etc/tools.d"

[[filesystems]]
id = "scratch"
path = "{root}/fs/scratch"
description = "fast, purged"
feature = "scratch"

[[filesystems]]
id = "project"
path = "{root}/fs/project"
description = "kept, shared by a project"
licence = "project:1"
feature = "project"
"""
