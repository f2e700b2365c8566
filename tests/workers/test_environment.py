"""The variables of launchers, as they set them, and what is wrong with them."""

from __future__ import annotations

import re

import pytest

from caffe_lite.errors import WorkerError
from caffe_lite.workers.environment import Place, place_in

TORCHRUN = {
    "GROUP_RANK": "1",
    "GROUP_WORLD_SIZE": "2",
    "LOCAL_RANK": "1",
    "LOCAL_WORLD_SIZE": "4",
    "MASTER_ADDR": "gpu-a",
    "MASTER_PORT": "29400",
    "RANK": "5",
    "ROLE_RANK": "5",
    "TORCHELASTIC_RESTART_COUNT": "0",
    "TORCHELASTIC_RUN_ID": "none",
    "TORCHELASTIC_USE_AGENT_STORE": "True",
    "WORLD_SIZE": "8",
}
# A task of `srun --nodes 2 --ntasks 5`.
SLURM = {
    "SLURM_JOB_ID": "731",
    "SLURM_JOB_NODELIST": "login,gpu[03-05,9],x1",
    "SLURM_LOCALID": "1",
    "SLURM_NODEID": "1",
    "SLURM_NTASKS": "5",
    "SLURM_PROCID": "4",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NODELIST": "gpu[03-05,9],x1",
    "SLURM_STEP_NUM_TASKS": "5",
    "SLURM_STEP_TASKS_PER_NODE": "3,2",
}
# The script of `sbatch --ntasks 5`, before it calls srun.
SLURM_SCRIPT = {
    "SLURM_JOB_ID": "731",
    "SLURM_LOCALID": "0",
    "SLURM_NODEID": "0",
    "SLURM_NTASKS": "5",
    "SLURM_PROCID": "0",
    "SLURM_TASKS_PER_NODE": "3,2",
}
# A process of `mpiexec -n 2` of Open MPI 5.0.11.
OPEN_MPI = {
    "OMPI_COMM_WORLD_LOCAL_RANK": "1",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "2",
    "OMPI_COMM_WORLD_NODE_RANK": "1",
    "OMPI_COMM_WORLD_RANK": "1",
    "OMPI_COMM_WORLD_SIZE": "2",
    "PMIX_NAMESPACE": "prterun-vm-7591@1",
    "PMIX_RANK": "1",
}
# A process of `mpiexec -n 2` of MPICH 4.
MPICH = {
    "HYDI_CONTROL_FD": "7",
    "MPI_LOCALNRANKS": "2",
    "MPI_LOCALRANKID": "1",
    "PMI_FD": "11",
    "PMI_HOSTNAME": "vm",
    "PMI_RANK": "1",
    "PMI_SIZE": "2",
}


def without(environment: dict[str, str], *names: str) -> dict[str, str]:
    return {name: value for name, value in environment.items() if name not in names}


def found(environment: dict[str, str]) -> Place:
    place = place_in(environment)
    assert place
    return place


def meets_at(environment: dict[str, str]) -> tuple[str, int]:
    place = found(environment)
    return place.address, place.port


def test_no_launcher():
    assert place_in({"HOME": "/root", "MASTER_ADDR": "gpu-a", "LOCAL_RANK": "0"}) is None


def test_torchrun():
    assert place_in(TORCHRUN) == Place(5, 8, 1, 4, "gpu-a", 29400, "torchrun", store_is_held=True)
    one = TORCHRUN | {"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0", "LOCAL_WORLD_SIZE": "1"}
    assert place_in(one) == Place(0, 1, 0, 1, "gpu-a", 29400, "torchrun", store_is_held=True)


def test_pods_of_kubernetes_have_no_local_ranks():
    pod = {"MASTER_ADDR": "job-master-0", "MASTER_PORT": "23456", "RANK": "3", "WORLD_SIZE": "4"}
    assert place_in(pod) == Place(3, 4, 0, 1, "job-master-0", 23456, "torchrun")


@pytest.mark.parametrize("other", [SLURM, OPEN_MPI, MPICH])
def test_torchrun_wins(other: dict[str, str]):
    assert found(other | TORCHRUN).launcher == "torchrun"


def test_our_own_launcher():
    place = found(TORCHRUN | {"CAFFE_LITE_LAUNCHER": "1"})
    assert place.is_ours and not place.one_machine
    assert not found(TORCHRUN).is_ours


def test_slurm():
    place = found(SLURM)
    assert place == Place(4, 5, 1, 2, "gpu03", place.port, "Slurm")
    assert found(SLURM | {"SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}).port == place.port
    assert found(SLURM | {"SLURM_STEP_ID": "3"}).port != place.port
    assert found(SLURM | {"SLURM_JOB_ID": "732"}).port != place.port
    assert 1024 < found(SLURM | {"SLURM_JOB_ID": "99999999"}).port < 32768


@pytest.mark.parametrize(
    ("hosts", "first"),
    [
        ("x1", "x1"),
        ("x1,x2", "x1"),
        ("gpu[03-05,9],x1", "gpu03"),
        ("gpu[7,9]", "gpu7"),
        ("gpu[007]", "gpu007"),
        ("rack[1-2]node[3,5-6].site,x1", "rack1node3.site"),
    ],
)
def test_first_host_of_slurm(hosts: str, first: str):
    assert found(SLURM | {"SLURM_STEP_NODELIST": hosts}).address == first


@pytest.mark.parametrize(("tasks", "second"), [("3,2", 2), ("4(x2)", 4), ("1,2(x3),1", 2)])
def test_tasks_on_a_machine_of_slurm(tasks: str, second: int):
    assert found(SLURM | {"SLURM_STEP_TASKS_PER_NODE": tasks}).local_count == second


def test_only_steps_of_several_tasks_are_groups():
    assert place_in(SLURM_SCRIPT) is None
    one = {"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0", "SLURM_LOCALID": "0", "SLURM_NODEID": "0"}
    assert place_in(SLURM | one) is None


def test_slurm_with_its_own_pmi_is_slurm():
    assert found(SLURM | {"PMI_RANK": "4", "PMI_SIZE": "5"}).launcher == "Slurm"


@pytest.mark.parametrize("mpi", [OPEN_MPI, MPICH])
def test_mpi(mpi: dict[str, str]):
    place = found(mpi)
    assert place == Place(1, 2, 1, 2, "127.0.0.1", place.port, place.launcher)
    assert place.one_machine
    # The starter of MPI may itself be a task of Slurm.
    assert found(SLURM | mpi) == place
    assert meets_at(mpi | {"MASTER_PORT": "4321"}) == ("127.0.0.1", 4321)


def test_two_starts_of_mpi_meet_at_two_ports():
    assert found(OPEN_MPI).port != found(OPEN_MPI | {"PMIX_NAMESPACE": "prterun-vm-7592@1"}).port


@pytest.mark.parametrize(
    "alone",
    [
        OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": "1", "OMPI_COMM_WORLD_RANK": "0"},
        MPICH | {"PMI_SIZE": "1", "PMI_RANK": "0"},
    ],
)
def test_one_process_of_mpi_is_alone(alone: dict[str, str]):
    assert place_in(alone) is None


@pytest.mark.parametrize(
    "several",
    [
        OPEN_MPI | {"OMPI_COMM_WORLD_SIZE": "4"},
        MPICH | {"PMI_SIZE": "4"},
    ],
)
def test_mpi_on_several_machines_needs_an_address(several: dict[str, str]):
    with pytest.raises(WorkerError, match=r"4 workers on several machines.*MASTER_ADDR.*MASTER_PORT"):
        place_in(several)
    assert meets_at(several | {"MASTER_ADDR": "gpu-a"}) == ("gpu-a", 29500)
    assert meets_at(several | {"MASTER_ADDR": "gpu-a", "MASTER_PORT": "4321"}) == ("gpu-a", 4321)
    assert not found(several | {"MASTER_ADDR": "gpu-a"}).one_machine


@pytest.mark.parametrize("launcher", [SLURM, OPEN_MPI, MPICH])
def test_a_given_address_wins(launcher: dict[str, str]):
    assert meets_at(launcher | {"MASTER_ADDR": "gpu-b", "MASTER_PORT": "4321"}) == ("gpu-b", 4321)


@pytest.mark.parametrize(
    ("launcher", "name"),
    [
        *((TORCHRUN, name) for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")),
        *((SLURM, name) for name in ("SLURM_LOCALID", "SLURM_STEP_NODELIST", "SLURM_JOB_ID", "SLURM_STEP_ID")),
        (OPEN_MPI, "OMPI_COMM_WORLD_SIZE"),
        (OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_SIZE"),
        (MPICH, "PMI_SIZE"),
        (MPICH, "MPI_LOCALRANKID"),
    ],
)
def test_a_missing_variable_is_named(launcher: dict[str, str], name: str):
    with pytest.raises(WorkerError, match=rf"the variable {name} is not set"):
        place_in(without(launcher, name))
    with pytest.raises(WorkerError, match=rf"the variable {name} is empty"):
        place_in(launcher | {name: ""})


@pytest.mark.parametrize(
    ("launcher", "name", "value"),
    [
        (TORCHRUN, "RANK", "8"),
        (TORCHRUN, "RANK", "-1"),
        (TORCHRUN, "RANK", "first"),
        (TORCHRUN, "WORLD_SIZE", "0"),
        (TORCHRUN, "WORLD_SIZE", "٤"),
        (TORCHRUN, "LOCAL_RANK", "4"),
        (TORCHRUN, "LOCAL_WORLD_SIZE", "9"),
        (TORCHRUN, "MASTER_PORT", "70000"),
        (TORCHRUN, "MASTER_PORT", "0"),
        (SLURM, "SLURM_PROCID", "5"),
        (SLURM, "SLURM_STEP_TASKS_PER_NODE", "3"),
        (SLURM, "SLURM_STEP_TASKS_PER_NODE", "3,two"),
        (SLURM, "MASTER_PORT", "high"),
        (OPEN_MPI, "OMPI_COMM_WORLD_RANK", "2"),
        (MPICH, "MPI_LOCALNRANKS", "3"),
    ],
)
def test_a_senseless_variable_is_named(launcher: dict[str, str], name: str, value: str):
    with pytest.raises(WorkerError, match=rf"the variable {name} is {re.escape(repr(value))}"):
        place_in(launcher | {name: value})
