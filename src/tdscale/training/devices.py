"""What has to stand in the environment of a worker process before it imports JAX."""

import os
from pathlib import Path


def single_thread_environment(cache_directory: str | Path, *, gpu: bool = False) -> dict[str, str]:
    """Environment variables for a worker that keeps to one thread and finds earlier compilations on disk.

    One thread because two are slower than two processes with one each, and do not give the same curve bit for bit.

    Args:
        cache_directory: of JAX's persistent compilation cache; may be shared by workers of one machine.
        gpu: leave JAX free to take a GPU.
    """
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    environment = {
        "XLA_FLAGS": " ".join(filter(None, [os.environ.get("XLA_FLAGS", ""), flags])),
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "MKL_NUM_THREADS": "1",
        # a step that waits for its device gains nothing from a second thread that hands it over
        "JAX_CPU_ENABLE_ASYNC_DISPATCH": "false",
        "JAX_COMPILATION_CACHE_DIR": str(cache_directory),
        # by default only what compiled for over a second is kept
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
        "MUJOCO_GL": os.environ.get("MUJOCO_GL", "disable"),
    }
    if not gpu:
        environment["JAX_PLATFORMS"] = "cpu"
    return environment
