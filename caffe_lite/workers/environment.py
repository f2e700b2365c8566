"""Which worker this process is: its rank and the address where the workers meet, from the launcher's variables."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Mapping
from dataclasses import dataclass

from ..errors import WorkerError

OWN_LAUNCHER = "caffe-lite"
OWN_LAUNCHER_VARIABLE = "CAFFE_LITE_LAUNCHER"

_LOOPBACK = "127.0.0.1"
_PORT_OF_TORCHRUN = 29500
# Ports that are derived from a job's number lie here, below those that systems give to outgoing connections.
_FIRST_PORT, _PORTS = 12000, 20000


@dataclass(frozen=True)
class Place:
    """A worker's place among all: ``rank`` of ``count``; on its machine, ``local_rank`` of ``local_count``.

    ``store_is_held`` tells whether the launcher holds the store in which the workers meet; otherwise rank 0 does.
    """

    rank: int
    count: int
    local_rank: int
    local_count: int
    address: str
    port: int
    launcher: str
    store_is_held: bool = False

    @property
    def is_ours(self) -> bool:
        """Whether ``caffe-lite`` itself is the launcher, which then tells the user what has failed."""
        return self.launcher == OWN_LAUNCHER

    @property
    def one_machine(self) -> bool:
        """Whether all workers are on this machine."""
        return self.local_count == self.count


def place_in(environment: Mapping[str, str]) -> Place | None:
    """Return the place that a launcher gives this process, or None if none has started it, or started it alone.

    A worker alone that torchrun has started does get a place. Its variables are looked for first, then those of MPI and
    Slurm, whose steps may have started the other launchers.
    """
    if "RANK" in environment or "WORLD_SIZE" in environment:
        return _of_torchrun(environment)
    if "OMPI_COMM_WORLD_RANK" in environment:
        return _of_mpi(environment, "Open MPI", "OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE",
                       "OMPI_COMM_WORLD_LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_SIZE")  # fmt: skip
    slurm = _of_slurm(environment)
    # Slurm's own PMI has PMI_RANK, too. The starters of MPICH and Intel MPI, which may themselves run as tasks of
    # Slurm, tell a process's rank on its machine.
    if "PMI_RANK" in environment and ("MPI_LOCALRANKID" in environment or slurm is None):
        return _of_mpi(environment, "MPI", "PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID", "MPI_LOCALNRANKS")
    return slurm


def quieten_torch() -> None:
    """Keep torch's warnings of closed connections, with traces of C++, out of the log, where ours should be the last.

    This must be called before torch is imported. The user's own TORCH_CPP_LOG_LEVEL wins.
    """
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "ERROR")


def _of_torchrun(environment: Mapping[str, str]) -> Place:
    launcher = OWN_LAUNCHER if OWN_LAUNCHER_VARIABLE in environment else "torchrun"
    count = _number(environment, "WORLD_SIZE", launcher, 1)
    rank = _number(environment, "RANK", launcher, 0, count)
    # Kubernetes' PyTorchJob gives each pod one process, and no local ranks.
    local_count = _number(environment, "LOCAL_WORLD_SIZE", launcher, 1, count + 1, default=1)
    local_rank = _number(environment, "LOCAL_RANK", launcher, 0, local_count, default=0)
    address = _text(environment, "MASTER_ADDR", launcher)
    port = _number(environment, "MASTER_PORT", launcher, 1, 65536)
    held = environment.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    return Place(rank, count, local_rank, local_count, address, port, launcher, held)


def _of_mpi(
    environment: Mapping[str, str], launcher: str, rank_in: str, count_in: str, local_rank_in: str, local_count_in: str
) -> Place | None:
    count = _number(environment, count_in, launcher, 1)
    rank = _number(environment, rank_in, launcher, 0, count)
    if count == 1:
        return None
    local_count = _number(environment, local_count_in, launcher, 1, count + 1)
    local_rank = _number(environment, local_rank_in, launcher, 0, local_count)
    address, port = environment.get("MASTER_ADDR", ""), _PORT_OF_TORCHRUN
    if not address:
        if local_count < count:
            raise WorkerError(
                f"{launcher} runs {count} workers on several machines, and they do not know where to meet",
                hint="export MASTER_ADDR, the name of the first machine, and MASTER_PORT, a free port there, to all of "
                "them: mpirun -x MASTER_ADDR=... (Open MPI), mpiexec -genv MASTER_ADDR ... (MPICH, Intel MPI)",
            )
        # What all processes of one start have in common, and those of another start do not.
        job = environment.get("PMIX_NAMESPACE") or environment.get("OMPI_MCA_ess_base_jobid") or str(os.getppid())
        address, port = _LOOPBACK, _derived_port(zlib.crc32(job.encode()))
    return Place(rank, count, local_rank, local_count, address, _given_port(environment, launcher, port), launcher)


def _of_slurm(environment: Mapping[str, str]) -> Place | None:
    """Return the place of a task of a step that ``srun`` has started with several; a job's script is no such task."""
    launcher = "Slurm"
    if "SLURM_PROCID" not in environment or "SLURM_STEP_NUM_TASKS" not in environment:
        return None
    count = _number(environment, "SLURM_STEP_NUM_TASKS", launcher, 1)
    if count == 1:
        return None
    rank = _number(environment, "SLURM_PROCID", launcher, 0, count)
    node = _number(environment, "SLURM_NODEID", launcher, 0)
    per_node = _text(environment, "SLURM_STEP_TASKS_PER_NODE", launcher)
    try:
        local_count = _expanded(per_node)[node]
    except (IndexError, ValueError):
        raise _senseless("SLURM_STEP_TASKS_PER_NODE", per_node, launcher) from None
    local_rank = _number(environment, "SLURM_LOCALID", launcher, 0, local_count)
    address = environment.get("MASTER_ADDR") or _first_host(_text(environment, "SLURM_STEP_NODELIST", launcher))
    job = _number(environment, "SLURM_JOB_ID", launcher, 0)
    step = _number(environment, "SLURM_STEP_ID", launcher, 0)
    port = _given_port(environment, launcher, _derived_port(31 * job + step))
    return Place(rank, count, local_rank, local_count, address, port, launcher)


def _first_host(hosts: str) -> str:
    """Return the first of hosts in Slurm's short form: ``gpu03`` of ``gpu[03-05,9],x1``."""
    first = re.match(r"(?:[^,\[]|\[[^\]]*\])*", hosts)
    return re.sub(r"\[([^\],-]*)[^\]]*\]", r"\1", first[0] if first else hosts)


def _expanded(counts: str) -> list[int]:
    """Return the tasks of each machine from Slurm's short form: 2, 2, 1 for ``2(x2),1``."""
    found: list[int] = []
    for item in counts.split(","):
        number, _, times = item.partition("(x")
        found += [int(number)] * int(times.removesuffix(")") or 1)
    return found


def _derived_port(number: int) -> int:
    return _FIRST_PORT + number % _PORTS


def _given_port(environment: Mapping[str, str], launcher: str, otherwise: int) -> int:
    return _number(environment, "MASTER_PORT", launcher, 1, 65536, default=otherwise)


def _text(environment: Mapping[str, str], name: str, launcher: str) -> str:
    if not environment.get(name):
        raise WorkerError(
            f"{launcher} seems to have started this process, but the variable {name} is "
            + ("empty" if name in environment else "not set"),
            hint="start all workers with the launcher, or remove its other variables to run alone",
        )
    return environment[name]


def _number(
    environment: Mapping[str, str],
    name: str,
    launcher: str,
    least: int,
    end: int | None = None,
    default: int | None = None,
) -> int:
    """Read a whole number from ``least`` up to, but without, ``end``."""
    if default is not None and name not in environment:
        return default
    text = _text(environment, name, launcher)
    if not (text.isascii() and text.isdecimal()) or int(text) < least or (end is not None and int(text) >= end):
        raise _senseless(
            name, text, launcher, f"from {least} to {end - 1}" if end is not None else f"of at least {least}"
        )
    return int(text)


def _senseless(name: str, text: str, launcher: str, wanted: str = "") -> WorkerError:
    return WorkerError(
        f"the variable {name} is {text!r}" + (f", not a whole number {wanted}" if wanted else ""),
        hint=f"start all workers with the launcher ({launcher}), which sets it, or remove its variables to run alone",
    )
