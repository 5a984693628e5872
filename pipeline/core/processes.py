"""One process, or several that `torchrun` started and that share the work."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta

from pipeline.core.errors import ProcessError

# A rank may wait for others until they have done their share of the work, however long.
_PATIENCE = timedelta(days=30)


@dataclass(frozen=True)
class Processes:
    """This process among those that share the work."""

    rank: int = 0
    count: int = 1
    local_rank: int = 0
    """Among the processes of this machine."""

    @property
    def is_main(self) -> bool:
        """Whether this is the one that speaks and decides for all."""
        return self.rank == 0

    def wait_for_all(self) -> None:
        """Return when every process has come here.

        Raises:
            ProcessError: one of them has ended.
        """
        if self.count == 1:
            return
        from torch import distributed

        try:
            distributed.barrier()
        except RuntimeError as error:
            raise ProcessError(
                f"rank {self.rank} stops because another process has ended; what that one "
                "said comes first."
            ) from error


def is_started_with_others() -> bool:
    """Say whether `torchrun` started this process, be it as the only one."""
    return "TORCHELASTIC_RUN_ID" in os.environ


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """Join the processes that `torchrun` started; a process of its own is alone."""
    count = int(os.environ.get("WORLD_SIZE", "1"))
    if count == 1:
        yield Processes()
        return
    import torch
    from torch import distributed

    backend = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo"
    distributed.init_process_group(backend, timeout=_PATIENCE)
    if "OMP_NUM_THREADS" not in os.environ:
        share = max(1, (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
        torch.set_num_threads(share)
        os.environ["OMP_NUM_THREADS"] = str(share)  # or accelerate chooses a number of its own
    yield Processes(
        rank=distributed.get_rank(),
        count=count,
        local_rank=int(os.environ.get("LOCAL_RANK", "0")),
    )
    distributed.destroy_process_group()  # not after an error: it would wait for the others


def run_in_processes(module: str, *arguments: str, count: int) -> None:
    """Run `python -m module arguments` in `count` processes of this machine, as `torchrun` does.

    Raises:
        SystemExit: one of them failed; it has said why.
    """
    from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
    from torch.distributed.launcher.api import LaunchConfig, elastic_launch

    config = LaunchConfig(
        min_nodes=1,
        max_nodes=1,
        nproc_per_node=count,
        rdzv_backend="c10d",
        rdzv_endpoint="localhost:0",
        max_restarts=0,
        run_id=module,
    )
    try:
        elastic_launch(config, sys.executable)("-m", module, *arguments)
    except ChildFailedError:
        raise SystemExit(1) from None
