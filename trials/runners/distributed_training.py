"""Trains an objective's NAT on several workers at once: Ray Train starts them, and torch's DDP sums
their gradients.

Every worker draws the same batch and trains on its share, so that any number of workers reaches the
same weights, up to rounding; with dropout, which each draws for itself, only in distribution. The
lab and the data must be on storage that all workers see.
"""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future
from pathlib import Path
from typing import Any

import ray.train
from ray.train import RunConfig, ScalingConfig
from ray.train.torch import TorchConfig, TorchTrainer
from ray.util.queue import Empty, Queue

from models.training.masked_loss import Share
from search.progress import Report
from trials.objectives.nat_objective import NATObjective
from trials.runners.ray_session import last_line, ray_session

RETRIES = 3
"""How often the workers are restarted after one died; they resume from the last checkpoint."""

HEARING_SECONDS = 1.0
"""Within so many seconds the last message of a worker is received."""


def train_together(
    objective: NATObjective,
    lab: Path,
    report: Report,
    *,
    workers: int,
    gpus: float = 0.0,
    address: str | None = None,
) -> None:
    """Do what `objective.prepare` does, on several workers.

    Args:
        objective: the objective whose NAT to train; afterwards it is prepared.
        lab: the folder of the lab, which all workers see.
        report: called with (steps done, steps, loss as text).
        workers: processes, each with a share of every batch, >= 1.
        gpus: GPUs of each worker; 0 trains on CPUs.
        address: of a running cluster; None starts Ray on this machine.

    Raises:
        ValueError: there is no cluster at the address, there are more workers than images in a
            batch, or the training failed; its reason is named.
    """
    if not 1 <= workers <= objective.batch_size:
        raise ValueError(
            f"workers = {workers} is outside [1, {objective.batch_size}], the images of each step"
        )
    logging.getLogger("ray.train").setLevel(logging.ERROR)
    with ray_session(address, workers):
        _check_resources(workers, gpus)
        queue = Queue(actor_options={"num_cpus": 0})
        reasons: list[str] = []
        ended = threading.Event()
        heard = (queue, report, reasons, ended)
        listener = threading.Thread(target=_receive, args=heard, daemon=True)
        listener.start()
        trainer = TorchTrainer(
            _work,
            train_loop_config={"objective": objective, "lab": str(lab.resolve()), "queue": queue},
            scaling_config=ScalingConfig(
                num_workers=workers,
                use_gpu=gpus > 0,
                resources_per_worker={"CPU": 1, **({"GPU": gpus} if gpus else {})},
            ),
            torch_config=TorchConfig(backend="nccl" if gpus else "gloo"),
            run_config=RunConfig(
                name="training",
                storage_path=str((lab / "ray-train").resolve()),
            ),
        )
        try:
            _fit(trainer, reasons)
        finally:
            ended.set()
            listener.join()
    objective.prepare(lab, report)


def _fit(trainer: TorchTrainer, reasons: list[str]) -> None:
    """Train, and restart if workers died, but not if one of them reported an error."""
    for left in reversed(range(RETRIES + 1)):
        try:
            _fit_aside(trainer)
            return
        except ray.train.TrainingFailedError as error:
            time.sleep(HEARING_SECONDS)
            if reasons or not left:
                reason = reasons[0] if reasons else last_line(error)
                raise ValueError(f"the training failed: {reason}") from None


def _fit_aside(trainer: TorchTrainer) -> None:
    """Train in a thread, because in the main thread Ray Train would keep handling Ctrl-C."""
    ended: Future[None] = Future()

    def fit() -> None:
        try:
            trainer.fit()
            ended.set_result(None)
        except Exception as error:
            ended.set_exception(error)

    threading.Thread(target=fit, daemon=True).start()
    ended.result()


def _work(config: dict[str, Any]) -> None:
    """The work of one worker, from start to end."""
    context = ray.train.get_context()
    share = Share(context.get_world_rank(), context.get_world_size())
    queue: Queue = config["queue"]

    def tell(done: int, total: int, note: str) -> None:
        if share.rank == 0:
            queue.put((done, total, note))

    try:
        config["objective"].prepare(Path(config["lab"]), tell, share)
    except ValueError as error:
        queue.put(str(error))
        raise


def _receive(queue: Queue, report: Report, reasons: list[str], ended: threading.Event) -> None:
    while not ended.is_set():
        try:
            told = queue.get(timeout=HEARING_SECONDS / 4)
            if isinstance(told, str):
                reasons.append(told)
            else:
                report(*told)
        except Empty:
            continue
        except ray.exceptions.RayError:
            return


def _check_resources(workers: int, gpus: float) -> None:
    """Refuse to ask for more than the cluster has, for which Ray would wait forever."""
    has: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    for kind, asked in (("CPU", float(workers)), ("GPU", gpus * workers)):
        if asked > has.get(kind, 0):
            raise ValueError(
                f"{workers} workers need {asked:g} {kind}s, but the cluster has "
                f"{has.get(kind, 0):g}"
            )
