"""The training loop: iterations, tests, the log and snapshots. The update rules are in ``rules``."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

import numpy as np
from google.protobuf.descriptor import FieldDescriptor

from ..errors import CaffeError, MissingExtra, SolverError, WeightsError
from ..files.atomic import Part
from ..files.hdf5 import import_h5py
from ..files.paths import system_path
from ..logs.log import logger
from ..net.compiled import compile_wanted
from ..net.loading import load, without_leading_ones
from ..net.scores import Scores, flat_values
from ..net.weights import read_weights
from ..ops import Array, Ops
from ..proto.arrays import PROTOBUF_LIMIT
from ..proto.caffe_pb2 import SolverParameter
from ..proto.fork_fields import refused, warn_of_idle_fields
from ..proto.parsed import Parsed
from ..proto.prototxt import read_solver, to_text
from ..proto.source import Source
from ..proto.upgrade import upgrade_solver
from ..pycaffe.net import Net
from ..pycaffe.parallel import NCCL
from ..ranks import solver_count, solver_rank
from .detection import AP_VERSIONS, DetectionScores
from .divergence import divergence
from .learning_rate import check_policy, is_ramp, learning_rate, next_step
from .nets import load_weights, net_problems, test_nets, train_net
from .progress import Progress
from .signals import SolverAction
from .smoothed_loss import SmoothedLoss
from .snapshot import Snapshot, checksum, damaged_state, read_state, require_own_weights, write_state

if TYPE_CHECKING:
    from ..workers.group import Group
    from .team import Team

_NOT_NEGATIVE = (
    *("base_lr", "gamma", "delta", "max_iter", "min_lr"),
    *("warmup_iter", "warmup_start_lr", "rampup_interval", "rampup_lr"),
)
# What solvers that train together need not have in common. All else decides about updates, or when they wait.
_OWN = {
    *("net", "net_param", "train_net", "train_net_param", "test_net", "test_net_param", "train_state", "test_state"),
    *("test_iter", "test_compute_loss", "eval_type", "ap_version", "show_per_class_result", "debug_info", "weights"),
    *("snapshot_prefix", "snapshot_diff", "snapshot_format", "random_seed", "type", "solver_type"),
    *("solver_mode", "device_id", "device", "engine", "layer_wise_reduce"),
}
_STATUS = {"multistep": "MultiStep", "plateau": "Plateau", "stepearly": "StepEarly"}


class Solver:
    """Trains a net as a SolverParameter says; subclasses define the update in ``apply_update``.

    Args:
        param: a prototxt's path, the result of ``read_solver`` for one, or a SolverParameter.
        engine, device: for all nets, as a Net takes them.
        compile: compile the nets and the update, with torch; by default, CAFFE_LITE_COMPILE=1 asks for it.
        split_batch: divide the batch size of the net to train by ``caffe.solver_count()``.

    The path of a net is relative to the working directory, as in the original, or to the solver's folder if there is no
    such file. A loss that is not finite ends training with a SolverError (the original goes on).

    The files of ``weights`` are not needed to go on from a snapshot: if one of them is missing or does not fit, it is
    an error only when a net or a step is asked for before anything was restored.

    Attributes:
        net, test_nets: these share their parameters whenever a test runs.
        iter: number of times that the parameters were updated.
        param: the SolverParameter, to read, or to change between two iterations.
        smoothed_loss: mean loss of the last ``average_loss`` iterations.
        test_scores: for each test net, the means of its outputs in the last test, by blob name; with
            ``eval_type: "detection"``, their mean average precisions.
        tested: iteration of the last test.
        on_iteration: functions that are called with the solver after each iteration.
        requested_action: function that is asked between iterations whether to stop or to take a snapshot.
    """

    type: ClassVar[str] = ""
    reads_fork_fields: ClassVar[Sequence[str]] = ()  # what it reads of forks' fields that others refuse
    resumes: ClassVar[Sequence[str]] = ()  # other types whose history has the same meaning
    history: list[Array]
    correlations: list[Array]  # of gradient and history, one number for each parameter, with larc_turbo

    def __init__(
        self,
        param: str | os.PathLike[str] | SolverParameter | Parsed[SolverParameter],
        *,
        engine: str | Ops[Array] | None = None,
        device: str | int | None = None,
        compile: bool | None = None,
        split_batch: bool = False,
    ) -> None:
        self._parsed = parsed_solver(param)
        self.param = self._parsed.message
        logger.info("Initializing solver from parameters: \n%s", to_text(self.param))
        self.check_parameters()
        warn_of_idle_fields(self.param)
        self.iter = 0
        self.current_step = 0
        self.progress = Progress()
        self.history = []
        self.correlations = []
        self.on_iteration: list[Callable[[Solver], None]] = []
        self.requested_action: Callable[[], SolverAction] = lambda: SolverAction.NONE
        self._callbacks: list[tuple[Callable[[], object], Callable[[], object]]] = []
        self.test_scores: dict[int, dict[str, np.ndarray]] = {}
        self.tested = 0
        self._stopping = False
        self._snapshot_wanted = False
        self._team: Team | None = None
        self._states: Sequence[Any] = ()  # of all solvers' nets, read from a snapshot
        self._loss = 0.0
        self._losses = SmoothedLoss(self.param.average_loss)
        self._keep_losses = False
        self.compile = compile_wanted(compile)
        options = {"engine": engine, "device": device, "compile": self.compile}
        self._without_weights: CaffeError | None = None
        self.split_batch = split_batch
        self._net: Net = train_net(self._parsed, split_batch=split_batch, **options)
        self._test_nets: list[Net] = []
        try:
            self._load_weights(self._net)
            if self.param.snapshot:
                self._check_snapshots()
            for net in test_nets(self._parsed, **options):
                self._test_nets.append(net)
                self._load_weights(net)
        except BaseException:
            self.close()
            raise
        logger.info("Solver scaffolding done.")

    def close(self) -> None:
        """Stop the threads and close the files of the nets' data layers."""
        for net in (self._net, *self._test_nets):
            net.close()

    @property
    def net(self) -> Net:
        self.require_weights()
        return self._net

    @property
    def test_nets(self) -> list[Net]:
        self.require_weights()
        return self._test_nets

    @property
    def name(self) -> str:
        """Name of the net that is trained."""
        return self._net.name

    def _load_weights(self, net: Net) -> None:
        """Load the solver's ``weights``; if this fails, the error is raised only when they are needed."""
        try:
            load_weights(net, self.param)
        except (WeightsError, MissingExtra) as error:
            self._without_weights = self._without_weights or error

    def require_weights(self) -> None:
        """Raise an error if the solver's ``weights`` could not be loaded and no snapshot has taken their place."""
        if self._without_weights:
            raise self._without_weights

    @classmethod
    def problems(cls, solver: Parsed[SolverParameter]) -> Iterator[SolverError]:
        """Yield an error for every setting that cannot work."""
        p = solver.message
        for descriptor, value in p.ListFields():
            if descriptor.type == FieldDescriptor.TYPE_FLOAT:
                wrong = [number for number in np.ravel(value) if not math.isfinite(number)]
                if wrong:
                    yield setting_error(solver, descriptor.name, f"{descriptor.name} is {wrong[0]:g}", "give a number")
        for field in _NOT_NEGATIVE:
            if -math.inf < getattr(p, field) < 0:
                yield setting_error(solver, field, f"{field} is {getattr(p, field):g}", "it must be at least 0")
        for index, batches in enumerate(p.test_iter):
            if batches < 0:
                yield SolverError(
                    f"test_iter is {batches}", where=solver.where("test_iter", index), hint="it must be at least 0"
                )
        for field in ("average_loss", "iter_size"):
            if getattr(p, field) < 1:
                yield setting_error(solver, field, f"{field} is {getattr(p, field)}", "it must be at least 1")
        if p.eval_type not in ("classification", "detection"):
            yield setting_error(solver, "eval_type", f"unknown eval_type {p.eval_type!r}", 'use "detection", or none')
        if p.eval_type == "detection" and p.ap_version not in AP_VERSIONS:
            hint = f"use one of {', '.join(AP_VERSIONS)}"
            yield setting_error(solver, "ap_version", f"unknown ap_version {p.ap_version!r}", hint)
        if p.HasField("lr_policy") and p.gamma >= 0:
            yield from policy_problems(solver)
        yield from net_problems(solver)
        for path, what in refused(p, cls.reads_fork_fields):
            if len(path) == 1:  # the nets inside report what is in them
                yield setting_error(solver, str(path[0]), what, "remove it, if training may do without")

    def check_parameters(self) -> None:
        """Raise a SolverError for settings that cannot work."""
        for problem in self.problems(self._parsed):
            raise problem

    def refuse(self, field: str, what: str, hint: str = "") -> NoReturn:
        """Raise a SolverError that names the field's place."""
        raise setting_error(self._parsed, field, what, hint)

    def _check_policy(self) -> None:
        for problem in policy_problems(self._parsed):
            raise problem

    # -- training ----------------------------------------------------------------------------------------------------

    @property
    def ops(self) -> Ops[Array]:
        return self._net.ops

    @property
    def lr(self) -> float:
        """Learning rate of the next update, before the parameters' own multipliers."""
        self._check_policy()
        return learning_rate(self.param, self.iter, next_step(self.param, self.iter, self.current_step))

    @property
    def smoothed_loss(self) -> float:
        return self._losses.mean

    def add_callback(
        self, on_start: Callable[[], object] | NCCL, on_gradient: Callable[[], object] = lambda: None
    ) -> None:
        """Call ``on_start`` before each iteration's forward pass, and ``on_gradient`` before its update.

        Given a ``caffe.NCCL`` instead, average the gradients over its solvers there.
        """
        if isinstance(on_start, NCCL):
            self._team_of(on_start.group)
            callbacks = (on_start.on_start, on_start.on_gradients_ready)
            if callbacks not in self._callbacks:
                self._callbacks.append(callbacks)
        else:
            self._callbacks.append((on_start, on_gradient))

    # -- training together ---------------------------------------------------------------------------------------------

    def join(self, group: Group, sync_batch_norm: bool = False) -> None:
        """Train with the other workers of a group, from the parameters of the first and from its place in the data.

        Every worker calls it, and from then on ``step``, ``solve`` and ``restore``. Gradients and the losses shown are
        means over the workers; the first one tests, displays and takes the snapshots.

        Args:
            sync_batch_norm: normalise batches by the statistics of all workers' batches.
        """
        from ..workers.exchange import Exchange

        self._team_of(group, f"sync_batch_norm: {sync_batch_norm}")
        self.start_from_first(group)
        self._callbacks.append((lambda: None, lambda: self.exchange_gradients(group)))
        self._net._caffe_graph.spread(Exchange(group), sync_batch_norm, self.split_batch)

    def start_from_first(self, group: Group) -> None:
        """Take the parameters, the history and the place in the data that the first worker of the group has."""
        team = self._team_of(group)
        self._take(group, "iter", "current_step", "progress", "_losses", "_keep_losses")
        team.start_from_first(self._states, [*self.history, *self.correlations])
        if group.rank:
            self._without_weights = None

    def _take(self, group: Group, *names: str) -> None:
        """Set these attributes to what they are in the first worker's solver."""
        for name, value in zip(names, group.shared([getattr(self, name) for name in names]), strict=True):
            setattr(self, name, value)

    def exchange_gradients(self, group: Group) -> None:
        """Replace the gradients and the loss by their means over the workers, if the group is the one to train in."""
        if self._team is not None and self._team.group is group:
            self._loss = self._team.exchange(self._loss, self.requested_action())

    def _team_of(self, group: Group, *settings: str) -> Team:
        if self._team is None or self._team.group is not group:
            from .team import Team

            fields = [field.name for field in self.param.DESCRIPTOR.fields if field.name not in _OWN]
            settings = (f"type: {self.type}", f"split_batch: {self.split_batch}", *settings)
            values = [f"{field}: {getattr(self.param, field)}" for field in fields]
            self._team = Team(group, self._net._caffe_graph, [*settings, *values])
        return self._team

    def solve(self, resume: str | os.PathLike[str] | None = None) -> None:
        """Train up to max_iter, from a .solverstate if one is given, and finish with a snapshot, display and test."""
        p = self.param
        logger.info("Solving %s", self.name)
        logger.info("Learning Rate Policy: %s", p.lr_policy)
        if p.snapshot_after_train:
            self._check_snapshots()
        if resume is not None:
            logger.info("Restoring previous solver status from %s", os.fspath(resume))
            self.restore(resume)
        self.step(p.max_iter - self.iter)
        if p.snapshot_after_train and not self._due(p.snapshot):
            self._snapshot_of_all()
        if self._stopping:
            logger.info("Optimization stopped early.")
            return
        if self._due(p.display):
            loss = self.ops.number(self.net.forward_pass())
            self._losses.add(self._team.mean(loss) if self._team else loss)
            logger.info("Iteration %d, loss = %g", self.iter, self.smoothed_loss)
        if self._due(p.test_interval, p.test_offset):
            self._test_due()
        logger.info("Optimization Done.")

    def step(self, iters: int) -> None:
        """Train for this many iterations, with the tests and snapshots that fall due."""
        p = self.param
        self._stopping = False
        self._states = ()
        if not self._keep_losses:
            self._losses = SmoothedLoss(p.average_loss)
        self._keep_losses = False
        self._shown = (time.perf_counter(), self.iter)
        stop_at = self.iter + iters
        while self.iter < stop_at:
            self.net.clear_param_diffs()
            if self._due(p.test_interval, p.test_offset) and (self.iter > 0 or p.test_initialization):
                self._test_due()
                if self._stopping:
                    break
            for on_start, _ in self._callbacks:
                on_start()
            display = self._due(p.display)
            self.net._caffe_graph.debug_info = display and p.debug_info
            for node in self.net.nodes:
                node.layer.progress = self.iter / max(1, p.max_iter)
            self._loss = self._forward_backward()
            if not math.isfinite(self._loss):
                self.net.recompute()
                raise divergence(self.net._caffe_graph, self.iter, self._loss)
            for _, on_gradient in self._callbacks:
                on_gradient()
            agreed = self._team.agreed() if self._team else None
            self._losses.add(self._loss)
            if display:
                self._display()
            self.apply_update()
            for after in self.on_iteration:
                after(self)
            asked = [self.requested_action()] if agreed is None else agreed
            if self._due(p.snapshot) or SolverAction.SNAPSHOT in asked:
                self._snapshot_of_all()
            if SolverAction.STOP in asked:
                self._stopping = True
                break

    def _test_due(self) -> None:
        """Test, if this is the first of the solvers that train together; the others wait for what it brings."""
        if solver_rank() == 0:
            self.test_all()
        if self._team:
            self._take(
                self._team.group, "_stopping", "_snapshot_wanted", "current_step", "progress", "tested", "test_scores"
            )
        if self._snapshot_wanted:
            self._snapshot_wanted = False
            self._snapshot_of_all()

    def apply_update(self) -> None:
        """Update the parameters from the diffs that the net holds, and count the iteration."""
        raise NotImplementedError

    def _due(self, interval: int, offset: int = 0) -> bool:
        return bool(interval) and (self.iter - offset) % interval == 0

    def _count_steps(self) -> None:
        """Take the step of the learning rate that this iteration brings, if it brings one."""
        p, before = self.param, self.current_step
        if p.lr_policy == "plateau" and not is_ramp(p, self.iter):
            patience = p.plateau_winsize[before] if before < len(p.plateau_winsize) else math.inf
            self._step_if_due(self.smoothed_loss, patience)
            if self._due(p.display) and self.progress.event > self.iter - p.display:
                lowest = self.progress.lowest
                logger.info("Plateau Status: Iteration %d, current minimum_loss = %g", self.iter, lowest)
            return
        self.current_step = next_step(p, self.iter, before)
        if p.lr_policy == "multistep":
            self._log_step(before)

    def _step_if_due(self, value: float, patience: float) -> None:
        """Take a step if a value that should fall has not fallen for so many iterations."""
        before = self.current_step
        self.current_step += self.progress.step_is_due(value, self.iter, patience)
        self._log_step(before)

    def _log_step(self, before: int) -> None:
        if self.current_step > before:
            policy = _STATUS[self.param.lr_policy]
            logger.info("%s Status: Iteration %d, step = %d", policy, self.iter, self.current_step)

    def _forward_backward(self) -> float:
        """Add up the gradients of ``iter_size`` batches; return the mean of their losses."""
        loss = self.ops.scalar(0)
        for left in reversed(range(self.param.iter_size)):
            observer = self._team.reducer.after_step if self._team and not left else None
            loss = loss + self.net.forward_backward_pass(observer)
        return self.ops.number(loss) / self.param.iter_size

    def _display(self) -> None:
        now = time.perf_counter()
        then, iteration = self._shown
        seconds = now - then
        speed = (self.iter - iteration) / seconds
        logger.info(
            "Iteration %d (%g iter/s, %gs/%d iters), loss = %g",
            self.iter,
            speed,
            round(seconds, 3),
            self.param.display,
            self.smoothed_loss,
        )
        self._shown = (now, self.iter)
        outputs = {name: flat_values(blob) for name, blob, _ in self.net.output_blobs}
        _log_outputs("Train", self.net, self._team.mean_outputs(outputs) if self._team else outputs)

    # -- testing -----------------------------------------------------------------------------------------------------

    def test_all(self) -> None:
        """Run every test net over its test_iter batches and log the means of its outputs."""
        for index in range(len(self.test_nets)):
            if not self._stopping:
                self._test(index)

    def _test(self, index: int) -> None:
        logger.info("Iteration %d, Testing net (#%d)", self.iter, index)
        net = self.test_nets[index]
        net.share_with(self.net)
        batches = self.param.test_iter[index]
        loss = 0.0
        scores = self._new_scores(net)
        for _ in range(batches):
            while (action := self.requested_action()) is not SolverAction.NONE:
                if action is SolverAction.SNAPSHOT and self._team:
                    self._snapshot_wanted = True  # when the test is over and all take part
                elif action is SolverAction.SNAPSHOT:
                    self.snapshot()
                self._stopping = self._stopping or action is SolverAction.STOP
            if self._stopping:
                logger.info("Test interrupted.")
                return
            batch_loss = net.forward_pass()
            if self.param.test_compute_loss:
                loss += self.ops.number(batch_loss)
            scores.add()
        if self.param.test_compute_loss:
            logger.info("Test loss: %g", loss / max(1, batches))
        means = self.test_scores[index] = scores.means()
        _log_outputs("Test", net, means)
        self.tested = self.iter
        if index == 0 and self.param.lr_policy == "stepearly":
            self._step_if_due(-self._accuracy(net, means), self.param.stepearly * self.param.test_interval)

    def _accuracy(self, net: Net, means: Mapping[str, np.ndarray]) -> float:
        """Return the first output of a test that is no loss."""
        for name, values in means.items():
            if values.size and not net.blob_loss_weights[name]:
                return float(values.flat[0])
        self.refuse("lr_policy", "lr_policy 'stepearly' needs a test net that has an output without loss_weight",
                    "add an Accuracy layer to the test net")  # fmt: skip

    def _new_scores(self, net: Net) -> Scores | DetectionScores:
        p, graph = self.param, net._caffe_graph
        return (
            DetectionScores(graph, p.ap_version, p.show_per_class_result)
            if p.eval_type == "detection"
            else Scores(graph)
        )

    def set_iter(self, iteration: int) -> None:
        """Continue counting from this iteration, as forks of Caffe let scripts do; parameters and history stay."""
        self.iter = int(iteration)

    def share_weights(self, net: Net) -> None:
        """Make another net use the trained net's parameters."""
        net.share_with(self.net)

    # -- snapshots ---------------------------------------------------------------------------------------------------

    def snapshot(self) -> None:
        """Write PREFIX_iter_N.caffemodel and PREFIX_iter_N.solverstate, or their .h5 forms.

        With snapshot_diff, the diffs are the gradients (the original has overwritten them with the update). Of solvers
        that train together, those of which this method is called write files; ``step`` and ``solve`` call it for the
        first, with the states of all.
        """
        self._write_snapshot([])

    def _snapshot_of_all(self) -> None:
        """Take a snapshot if this is the first of the solvers that train together; all of them call this."""
        states = self._team.states() if self._team else []
        if solver_rank() == 0:
            self._write_snapshot(states)

    def _write_snapshot(self, states: Sequence[Any]) -> None:
        p = self.param
        hdf5 = p.snapshot_format == SolverParameter.HDF5
        model, state = self._snapshot_files()
        kind = "HDF5 file" if hdf5 else "binary proto file"
        logger.info("Snapshotting to %s %s", kind, model)
        (self.net.save_hdf5 if hdf5 else self.net.save)(model, p.snapshot_diff)
        logger.info("Snapshotting solver state to %s %s", kind, state)
        history = [self.ops.host_view(array) for array in self.history]
        extra = {
            "type": self.type,
            "weights": checksum(model),
            "net": self.net.state(),
            "test_nets": [net.state() for net in self.test_nets],
            "losses": self._losses.state(),
        }
        if states:
            extra["workers"] = states
        if self.correlations:
            extra["correlations"] = [self.ops.number(array) for array in self.correlations]
        progress = self.progress if p.lr_policy in ("plateau", "stepearly") else None
        write_state(state, Snapshot(self.iter, model, self.current_step, history, extra, progress), hdf5)

    def restore(self, path: str | os.PathLike[str]) -> None:
        """Go on from a .solverstate or .solverstate.h5 and the weights beside it.

        A snapshot that this solver wrote goes on exactly, including data and random numbers. One that the original
        wrote goes on as in the original, with the data from the beginning. Nothing is changed if the snapshot does not
        fit, if its weights are not those that were written with it, or if its history is that of another type of solver
        (SGD and Nesterov go on with each other's; the original takes any of the same size).

        Solvers that train together go on from the file that the first one reads. If as many took the snapshot, each
        goes on exactly; otherwise all go on at the first one's place in the data, which they divide anew.
        """
        if self._team is None or solver_rank() == 0:
            self._states = self._restore(path)
        if self._team is not None:
            self.start_from_first(self._team.group)

    def _restore(self, path: str | os.PathLike[str]) -> Sequence[Any]:
        """Go on from a snapshot; return the states of all the nets that took part in it."""
        snapshot = read_state(path)
        self._check_type(snapshot, path)
        self._check_history(snapshot, path)
        if snapshot.learned_net and self._net.learnable_params:
            require_own_weights(snapshot, path)
            load(self._net._caffe_graph, [(snapshot.learned_net, read_weights(snapshot.learned_net))])
        logger.info("%sSolver: restoring history", self.type)
        for mine, stored in zip(self.history, snapshot.history, strict=True):
            mine[...] = self.ops.asarray(stored.reshape(mine.shape))
        self.iter = snapshot.iteration
        self.current_step = snapshot.current_step
        self.progress = snapshot.progress or Progress()
        if snapshot.extra:
            try:
                self._net.restore_state(snapshot.extra["net"])
                for net, state in zip(self._test_nets, snapshot.extra["test_nets"], strict=False):
                    net.restore_state(state)
                self._losses = SmoothedLoss(self.param.average_loss, [float(loss) for loss in snapshot.extra["losses"]])
                for mine, number in zip(self.correlations, snapshot.extra.get("correlations", ()), strict=False):
                    mine[...] = float(number)
            except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError):
                raise damaged_state(path) from None
            self._keep_losses = True
        self._do_without_weights()
        states: Sequence[Any] = snapshot.extra.get("workers", [])
        if max(1, len(states)) != solver_count() and snapshot.extra:
            logger.warning(
                "%s was taken by %s, now there are %d: the data are divided anew, from its place on",
                *(os.fspath(path), _workers(max(1, len(states))), solver_count()),
            )
        return states

    def _check_type(self, snapshot: Snapshot, path: str | os.PathLike[str]) -> None:
        kind = snapshot.extra.get("type", self.type)
        if kind in self.resumes:
            logger.warning("%s is of a %s solver; its history serves %s, too", os.fspath(path), kind, self.type)
        elif kind != self.type:
            raise SolverError(
                f"{os.fspath(path)} is of a solver of type {kind}, this one is {self.type}: what the one remembers of "
                "earlier gradients means nothing to the other",
                where=self._parsed.where("type"),
                hint=f'set type: "{kind}" to resume, or start anew from the weights alone: {snapshot.learned_net}',
            )

    def _check_history(self, snapshot: Snapshot, path: str | os.PathLike[str]) -> None:
        if len(snapshot.history) != len(self.history):
            raise SolverError(
                f"{os.fspath(path)} holds {len(snapshot.history)} history arrays, "
                f"{self.type} for this net needs {len(self.history)}",
                where=self._parsed.where(),
                hint="resume with the net and the type of solver that took the snapshot",
            )
        for index, (mine, stored) in enumerate(zip(self.history, snapshot.history, strict=True)):
            if without_leading_ones(mine.shape) != without_leading_ones(stored.shape):
                raise SolverError(
                    f"history array {index} of {os.fspath(path)} has shape {stored.shape}, "
                    f"the net's parameter {tuple(mine.shape)}",
                    where=self._parsed.where(),
                    hint="resume with the net that took the snapshot",
                )

    def _do_without_weights(self) -> None:
        """Go on without the solver's ``weights``; log the layers that have nothing else to start from."""
        if not self._without_weights:
            return
        trained = {id(param.blob.source) for param in self._net.learnable_params}
        for index, net in enumerate(self._test_nets):
            net.share_with(self._net)
            left = [n.name for n in net.nodes if any(id(blob.source) not in trained for blob in n.layer.blobs)]
            if left:
                logger.warning(
                    "Layers of test net #%d that the snapshot does not hold stay as their fillers made them: %s. %s",
                    index,
                    ", ".join(left),
                    self._without_weights,
                )
        self._without_weights = None

    def _snapshot_files(self) -> tuple[str, str]:
        """Return the paths for the weights and the state of this iteration."""
        path = f"{self.param.snapshot_prefix}_iter_{self.iter}"
        begin = system_path(path, SolverError, self._parsed.where("snapshot_prefix"))
        end = ".h5" if self.param.snapshot_format == SolverParameter.HDF5 else ""
        return f"{begin}.caffemodel{end}", f"{begin}.solverstate{end}"

    def _check_snapshots(self) -> None:
        """Raise an error now, not after hours, if snapshots cannot be written."""
        p = self.param
        if p.snapshot and not p.HasField("snapshot_prefix"):
            self.refuse(
                "snapshot", "snapshot is given but snapshot_prefix is not", 'set snapshot_prefix: "folder/name"'
            )
        if solver_rank() == 0:
            self._check_writable()
        if p.snapshot_format == SolverParameter.HDF5:
            import_h5py()
        elif 4 * sum(param.blob.count for param in self._net.learnable_params) > PROTOBUF_LIMIT:
            self.refuse(
                "snapshot_format", "the weights take more than the 2 GB of a protobuf file", "set snapshot_format: HDF5"
            )

    def _check_writable(self) -> None:
        try:
            for file in self._snapshot_files():
                Part(Path(os.path.realpath(file))).close()
        except OSError as error:
            self.refuse(
                "snapshot_prefix",
                f"Cannot write to snapshot prefix {self.param.snapshot_prefix!r}: {error.strerror}",
                "make sure that the folder exists and can be written to",
            )


def setting_error(solver: Parsed[SolverParameter], field: str, what: str, hint: str) -> SolverError:
    """Make an error about a setting, with its place."""
    return SolverError(what, where=solver.where(field), hint=hint)


def policy_problems(solver: Parsed[SolverParameter]) -> Iterator[SolverError]:
    """Yield an error if the learning rate cannot be computed."""
    try:
        check_policy(solver.message)
    except SolverError as error:
        error.located(solver.where("lr_policy"))
        yield error


def _workers(count: int) -> str:
    return "1 worker" if count == 1 else f"{count} workers"


def parsed_solver(
    param: str | os.PathLike[str] | SolverParameter | Parsed[SolverParameter],
) -> Parsed[SolverParameter]:
    """Read a solver from a file, or upgrade a copy of the message given; the result is ours to change."""
    if isinstance(param, (str, os.PathLike)):
        return read_solver(param)
    if isinstance(param, Parsed):
        return param
    message = SolverParameter()
    message.CopyFrom(param)
    parsed = Parsed(message, Source("", "solver"))
    upgrade_solver(parsed)
    return parsed


def _log_outputs(kind: str, net: Net, outputs: Mapping[str, np.ndarray]) -> None:
    number, weights = count(), net.blob_loss_weights
    for name, values in outputs.items():
        for value in values:
            loss = f" (* {weights[name]:g} = {weights[name] * value:g} loss)" if weights[name] else ""
            logger.info("    %s net output #%d: %s = %g%s", kind, next(number), name, value, loss)
