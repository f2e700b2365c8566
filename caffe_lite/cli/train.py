"""Train from a solver, or from a net and the settings given here; resume, or start from trained weights."""

from __future__ import annotations

import argparse
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import SolverError, Where
from ..files.paths import path_field
from ..logs.log import logger, start_logging
from ..proto.caffe_pb2 import TEST, NetParameter, SolverParameter
from ..proto.parsed import Parsed
from ..proto.parser import parse_text
from ..proto.prototxt import read_net, read_solver, read_text
from .arguments import Parser, UsageError, add_engine, add_state, add_switch, choose_engine
from .settings import apply_setting
from .workers import add_workers, member, to_launch

if TYPE_CHECKING:
    from ..solvers import Solver
    from ..workers.group import Group

# The fields of SolverParameter that have their own option, each with its default if the file is a net.
SETTINGS = {
    "type": ("SGD", "SGD, Nesterov, AdaGrad, RMSProp, AdaDelta or Adam"),
    "base_lr": ("0.01", "the learning rate to begin with"),
    "lr_policy": ("fixed", "fixed, step, exp, inv, multistep, poly or sigmoid"),
    "gamma": (None, "of the policy"),
    "power": (None, "of the policy"),
    "stepsize": (None, "of the step policy"),
    "stepvalue": (None, "of the multistep policy, with commas between"),
    "momentum": ("0.9", "the share of the last update in the next"),
    "weight_decay": ("0.0005", "the weight of the parameters' norm in the loss"),
    "max_iter": ("10000", "how many iterations to train"),
    "display": ("100", "log the loss every N iterations"),
    "test_iter": ("100", "test on N batches"),
    "test_interval": ("500", "test every N iterations"),
    "random_seed": (None, "0 or more: the same run every time"),
    "snapshot_prefix": (None, "where snapshots go; the folder must exist. Default for a net: beside it, named like it"),
}
TEST_SETTINGS = ("test_iter", "test_interval")


def add_arguments(parser: Parser) -> None:
    parser.add_argument("file", metavar="FILE", nargs="?", help="the solver, or a net alone")
    parser.add_argument("--solver", metavar="FILE", help="the same, as Caffe spells it")
    parser.add_argument("--weights", metavar="FILES", help="start from .caffemodel or .h5 files, with commas between")
    parser.add_argument("--snapshot", metavar="FILE", help="resume from a .solverstate or .solverstate.h5")
    parser.add_argument("--plot", metavar="FILE", help="keep a picture of loss and accuracy current: .png, .svg, .pdf")
    add_state(parser)
    add_engine(parser, several_gpus=True)
    add_workers(parser)
    what = "divide each batch among the workers; otherwise the net's batch size is that of each worker"
    add_switch(parser, "split-batch", what)
    what = "normalise batches by mean and variance of all workers' batches, not of each one's"
    add_switch(parser, "sync-batch-norm", what)
    for signal, effect in (("sigint", "stop"), ("sighup", "snapshot")):
        what = f"what {signal.upper()} does: stop, snapshot or none; default {effect}"
        choices = ("stop", "snapshot", "none")
        parser.add_argument(f"--{signal}-effect", metavar="X", choices=choices, default=effect, help=what)
    group = parser.add_argument_group("settings of the solver, over those in the file (defaults are for a net alone)")
    for field, (default, what) in SETTINGS.items():
        default_text = f"; default {default}" if default else ""
        group.add_argument(f"--{field.replace('_', '-')}", dest=f"set_{field}", metavar="X", help=what + default_text)
    group.add_argument("--set", metavar="FIELD=X", action="append", default=[], help="any other field of a solver")


def run(arguments: argparse.Namespace) -> int:
    if (arguments.file is None) == (arguments.solver is None):
        raise UsageError("give one solver or net to train: caffe-lite train FILE (see caffe-lite train --help)")
    if arguments.snapshot is not None and arguments.weights:
        raise SolverError(
            "both --snapshot and --weights are given",
            hint="give a snapshot to resume, or weights to fine-tune, not both",
        )
    if count := to_launch(arguments):
        from ..workers.launching import launch

        solver_parameter(arguments)  # a mistake in it is told now, and once
        return launch(arguments.words, count)
    with member(arguments) as group:
        _train(arguments, group)
    return 0


def _train(arguments: argparse.Namespace, group: Group | None) -> None:
    """Train in this process, alone or with the others of a group, of which the first one tells the user."""
    parsed = solver_parameter(arguments)

    from ..solvers import get_solver
    from ..solvers.signals import SignalHandler
    from ..workers.logs import GroupLog
    from .live_plot import live_plot
    from .progress import progress_bar
    from .report import report

    log = start_logging()
    for option in ("split_batch", "sync_batch_norm"):
        if group is None and getattr(arguments, option):
            logger.warning("--%s has no effect: this process trains alone", option.replace("_", "-"))
    with GroupLog(log, group) if group else nullcontext() as group_log:
        choose_engine(arguments)
        solver = get_solver(parsed, compile=arguments.compile, split_batch=arguments.split_batch)
        try:
            first = group is None or group.rank == 0
            snapshot = _snapshot_to_resume(arguments, solver, group)
            if snapshot is None and first:
                solver.require_weights()
            if group:
                solver.join(group, sync_batch_norm=arguments.sync_batch_norm)
            if group_log:
                group_log.release()
            with (
                SignalHandler(arguments.sigint_effect, arguments.sighup_effect) as signals,
                progress_bar(solver, log) if first else nullcontext(),
                live_plot(solver, arguments.plot if first else None),
            ):
                solver.requested_action = signals.requested_action
                if snapshot is not None:
                    logger.info("Resuming from %s", snapshot)
                logger.info("Starting Optimization")
                solver.solve(snapshot)
                logger.info("Optimization Done.")
            if first:
                print(report(solver))
        finally:
            solver.close()


def _snapshot_to_resume(arguments: argparse.Namespace, solver: Solver, group: Group | None) -> str | None:
    """Return the snapshot to go on from: after a restart by torchrun the last one of this run, if there is one."""
    snapshot: str | None = arguments.snapshot
    if group is None:
        return snapshot
    from ..solvers.snapshot import newest_snapshot

    since = group.restarted_since
    newest = None if since is None else newest_snapshot(solver.param.snapshot_prefix, since)
    return group.shared(newest) or snapshot


def solver_parameter(arguments: argparse.Namespace) -> Parsed[SolverParameter]:
    """Make the solver from the file and from the settings on the command line."""
    path = arguments.solver if arguments.file is None else arguments.file
    parsed = _of_net(path) if _is_net(path) else read_solver(path)
    for field in SETTINGS:
        if (value := getattr(arguments, f"set_{field}")) is not None:
            apply_setting(parsed, field, value, f"--{field.replace('_', '-')} {value}")
    for setting in arguments.set:
        field, equals, value = setting.partition("=")
        if not equals:
            raise SolverError("it is not FIELD=VALUE", where=Where(f"--set {setting}"), hint="As in --set iter_size=2")
        apply_setting(parsed, field.strip(), value, f"--set {setting}")
    param = parsed.message
    if arguments.level or not param.train_state.HasField("level"):
        param.train_state.level = arguments.level
    param.train_state.stage.extend(arguments.stage)
    if arguments.weights:
        param.weights[:] = [path_field(arguments.weights)]
    return parsed


def _is_net(path: str) -> bool:
    net = parse_text(read_text(path), NetParameter, path, collect=True).message
    return bool(net.layer or net.layers)


def _of_net(path: str) -> Parsed[SolverParameter]:
    """Make a solver for a net without one: with the defaults, and with tests if the net has data for them."""
    prefix = path_field(Path(path).with_suffix(""))
    param = SolverParameter(net=path_field(path), snapshot_prefix=prefix, solver_mode=SolverParameter.CPU)
    parsed = Parsed(param)
    tested = any(
        rule.HasField("phase") and rule.phase == TEST and not rule.stage
        for layer in read_net(path).message.layer
        if not layer.bottom
        for rule in layer.include
    )
    for field, (default, _) in SETTINGS.items():
        if default is not None and (tested or field not in TEST_SETTINGS):
            apply_setting(parsed, field, default, field)
    return parsed
