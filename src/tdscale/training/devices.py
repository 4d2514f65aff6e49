"""What has to stand in the environment of a worker process before it imports JAX."""

import os
import shutil
import subprocess
import sys
from pathlib import Path


def cache_directory() -> Path:
    """Where compiled programs are kept between runs."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "tdscale" / "jax"


def single_thread_environment(cache_directory: str | Path) -> dict[str, str]:
    """Environment variables for a worker that keeps to one thread and finds earlier compilations on disk.

    One thread because two are slower than two processes with one each, and do not give the same curve bit for bit.

    Args:
        cache_directory: of JAX's persistent compilation cache; may be shared by workers of one machine.
    """
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    return {
        "JAX_PLATFORMS": "cpu",
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


def quick_to_compile(environment: dict[str, str]) -> dict[str, str]:
    """The same for runs too short to earn back what good code costs to compile: half the compile time, twice that of an update."""
    flags = [environment.get("XLA_FLAGS", os.environ.get("XLA_FLAGS", "")), "--xla_backend_optimization_level=0"]
    return environment | {"XLA_FLAGS": " ".join(filter(None, flags))}


def gpu_environment(cache_directory: str | Path) -> dict[str, str]:
    """Environment variables for a worker that has a GPU to itself: its environments step in threads of one BLAS thread each."""
    return {
        "OMP_NUM_THREADS": "1",
        "OPENBLAS_NUM_THREADS": "1",
        "JAX_COMPILATION_CACHE_DIR": str(cache_directory),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "MUJOCO_GL": os.environ.get("MUJOCO_GL", "disable"),
    }


def visible_gpus() -> list[str]:
    """The GPUs that this process may use, each as CUDA_VISIBLE_DEVICES names it."""
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    if chosen is not None:
        return [name.strip() for name in chosen.split(",") if name.strip()]
    if not shutil.which("nvidia-smi"):
        return ["0"]
    listed = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False).stdout
    count = sum(line.startswith("GPU ") for line in listed.splitlines())
    return [str(index) for index in range(max(count, 1))]


def gpu_problem() -> str | None:
    """Why no GPU can be used, in one sentence; None where JAX has one. Asks JAX, in a process of its own, only where a GPU is seen."""
    if not (shutil.which("nvidia-smi") or Path("/dev/nvidia0").exists()):
        return "this machine has no NVIDIA GPU that tdscale can see"
    code = "import jax; print(jax.default_backend())"
    asked = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if asked.stdout.strip() == "gpu":
        return None
    return 'JAX finds no GPU; pip install "tdscale[gpu]" installs its CUDA build'
