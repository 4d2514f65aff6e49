"""Files with faults, always the same for one number; and the logs of every kind that they are made from."""

import io
import json
import random
import zipfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

Files = dict[str, bytes]
_TOKENS = (
    *(b"\0", b"\xff", b"\xff\xfe", b"\xef\xbb\xbf", b"\n", b"\r", b"\r\n", b"\n\n", b'"', b"'", b",", b";", b"\t", b" ", b"#", b"="),
    *(
        b"nan",
        b"inf",
        b"-inf",
        b"1e999",
        b"-1",
        b"0",
        b"9" * 400,
        b"1e308",
        b"0x10",
        b"1_000",
        b"None",
        b"true",
        b"{",
        b"[" * 5000,
        b"{" * 900,
    ),
    *(b"}", b"]", b"\x1b[2J", "\u2028".encode(), "\u202e".encode(), "σ".encode(), "🦕".encode(), b"/", b"..", b"../", b"\\", b"%s", b"{0}"),
    *(b"O", b"object", b"(", b")", b"descr", b"-", b"e", b".", b"a" * 70_000, b"#{", b"\x80\x04c"),
)


@dataclass(frozen=True)
class Sample:
    """A log of one kind, whole: its files, the command's options, and the folder's names of files that are changed."""

    name: str
    files: Files
    options: tuple[str, ...] = ()
    source: str = "log"
    changed: tuple[str, ...] = field(default=())


def mutated(data: bytes, chance: random.Random, other: bytes = b"") -> bytes:
    """Some faults, from one to six."""
    for _ in range(chance.choice((1, 1, 1, 2, 3, 6))):
        size = len(data)
        at = chance.randrange(size + 1)
        length = min(chance.choice((1, 1, 2, 4, 16, 200)), size - at)
        what = chance.randrange(11)
        if what == 0 and size:
            place = min(at, size - 1)
            data = data[:place] + bytes([data[place] ^ (1 << chance.randrange(8))]) + data[place + 1 :]
        elif what == 1:
            data = data[:at] + chance.randbytes(length) + data[at + length :]
        elif what == 2:
            data = data[:at] + data[at + length :]
        elif what == 3:
            data = data[:at] + data[at : at + length] * chance.choice((2, 3, 50)) + data[at + length :]
        elif what == 4:
            data = data[:at] + chance.choice(_TOKENS) + data[at:]
        elif what == 5:
            data = data[:at] + chance.choice(_TOKENS) + data[at + length :]
        elif what == 6:
            data = data[:at]
        elif what == 7:
            data = data[at:]
        elif what == 8:
            lines = data.splitlines(keepends=True)
            chance.shuffle(lines)
            data = b"".join(lines)
        elif what == 9 and other:
            start = chance.randrange(len(other))
            data = data[:at] + other[start : start + 200] + data[at + length :]
        else:
            lines = data.splitlines(keepends=True) or [b""]
            place = chance.randrange(len(lines))
            cells = lines[place].split(b",")
            cells[chance.randrange(len(cells))] = chance.choice(_TOKENS)
            lines[place] = b",".join(cells)
            data = b"".join(lines)
    return data


def mutated_zip(data: bytes, chance: random.Random) -> bytes:
    """A zip that is whole, of entries whose names or contents are not; or that is not whole itself."""
    if chance.randrange(3) == 0:
        return mutated(data, chance)
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        entries = [(name, archive.read(name)) for name in archive.namelist()]
    stream = io.BytesIO()
    chosen = chance.randrange(len(entries))
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for place, (name, content) in enumerate(entries):
            if place == chosen and chance.randrange(2):
                raw = mutated(name.encode(), chance).decode("utf-8", "replace").replace("\0", "")
                name = chance.choice((raw, "", "/", "a//b.npy", ".", "x" * 60_000, "\x1b[2J.npy", raw))[:65_000]
            elif place == chosen:
                content = mutated(content, chance)
            entry = zipfile.ZipInfo("x")
            entry.filename = name
            archive.writestr(entry, content)
    return stream.getvalue()


def write(sample: Sample, folder: Path, number: int) -> Path:
    """The sample with faults, below a folder; returns its source."""
    chance = random.Random(f"{sample.name} {number}")
    names = sorted(sample.changed or sample.files)
    chosen = chance.choice(names)
    other = chance.choice(sorted(sample.files.values()))
    for name, content in sample.files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name == chosen:
            content = mutated_zip(content, chance) if name.endswith((".zip", ".npz")) else mutated(content, chance, other)
        path.write_bytes(content)
    return folder / sample.source


def npy(array: np.ndarray) -> bytes:
    """An array as a file."""
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def zipped(entries: Files) -> bytes:
    """Files in a zip."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in entries.items():
            archive.writestr(name, content)
    return stream.getvalue()


def samples(events: Callable[[], bytes], recorded: bytes | None) -> list[Sample]:
    """A log of every kind; `events` makes a file of TensorBoard's, `recorded` is one of W&B's."""
    steps, returns = 100 * np.arange(30), np.round(1000 * (1 - np.exp(-np.arange(30) / 8)), 2)
    given = ("--utd", "=1", "--batch-size", "=64", "--learning-rate", "=3e-4", "--task", "=Pendulum-v1")
    table = pd.DataFrame(
        {"env_step": steps, "return": returns, "utd": 1.0, "batch_size": 64, "learning_rate": 3e-4, "env_id": "T", "seed": 0}
    )
    table = pd.concat([table, table.assign(utd=2.0), table.assign(seed=1)])
    stream = io.BytesIO()
    table.to_parquet(stream)
    pairs = "".join(f"{step} {value}\n" for step, value in zip(steps, returns, strict=True)).encode()
    objects = [{"config": {"batch_size": 64}}, *({"env_step": int(s), "return": float(r)} for s, r in zip(steps, returns, strict=True))]
    rows = "\n".join(f"{i}\t{s}\t{r}" for i, (s, r) in enumerate(zip(steps, returns, strict=True)))
    spinning_up = f"Epoch\tTotalEnvInteracts\tAverageEpRet\n{rows}\n".encode()
    monitor = ('#{"t_start": 1.0, "env_id": "Pendulum-v1"}\nr,l,t\n' + "".join(f"{r},100,{i}.5\n" for i, r in enumerate(returns))).encode()
    model = zipped({"data": json.dumps({"batch_size": 64, "learning_rate": 3e-4, "gradient_steps": 1, "train_freq": 1}).encode()})
    evaluations = zipped(
        {"timesteps.npy": npy(steps), "results.npy": npy(np.stack([returns, returns], axis=1)), "ep_lengths.npy": npy(steps)}
    )
    logged = "time/total_timesteps,rollout/ep_rew_mean\n" + "".join(f"{s},{r}\n" for s, r in zip(steps, returns, strict=True))
    results = [
        {"num_env_steps_sampled_lifetime": int(s), "episode_return_mean": float(r), "training_iteration": i}
        for i, (s, r) in enumerate(zip(steps, returns, strict=True))
    ]
    whole = "\n".join(map(json.dumps, results)).encode()
    no_mean = ("--return-window", "none")
    progress = pd.DataFrame(results).to_csv(index=False).encode()
    params = json.dumps({"train_batch_size": 64, "lr": 3e-4, "env": "Pendulum-v1"}).encode()
    array = np.column_stack([steps + 1000.0, returns, returns + 1])
    names = "r/utd_{}/walker-run/return/bs_64_lr_0.0003.npy"
    wide = pd.DataFrame({"Step": steps, "sac utd1 s0": returns, "sac utd2 s0": returns}).to_csv(index=False).encode()
    found = [
        Sample("long", {"log.csv": table.to_csv(index=False).encode()}, source="log.csv"),
        Sample("folder", {"log/utd1.csv": table.to_csv(index=False).encode(), "log/utd2.csv": wide}, ("--skip-bad",)),
        Sample("wide", {"log.csv": wide}, (*given[2:], "--names", "* utd{utd} s{seed}", "--env-step", "Step"), "log.csv"),
        Sample("parquet", {"log.parquet": stream.getvalue()}, source="log.parquet"),
        Sample("headless", {"log/utd1/0.txt": pairs, "log/utd2/0.txt": pairs}, (*given[2:], "--names", "utd{utd}/{seed}")),
        Sample("headless-csv", {"log.csv": pairs.replace(b" ", b",")}, given, "log.csv"),
        Sample("json-lines", {"log.jsonl": "\n".join(map(json.dumps, objects)).encode()}, given, "log.jsonl"),
        Sample("spinning-up", {"log/s0/progress.txt": spinning_up, "log/s0/config.json": params}, given),
        Sample("qscaled", {"log.zip": zipped({names.format(utd): npy(array) for utd in (1, 2)})}, source="log.zip"),
        Sample("arrays", {"log/utd1.npy": npy(array), "log/utd2.npy": npy(array)}, (*given[2:], "--names", "utd{utd}")),
        Sample(
            "npz", {"log/utd1.npz": zipped({"steps.npy": npy(steps), "returns.npy": npy(returns)})}, (*given[2:], "--names", "utd{utd}")
        ),
        Sample("monitor", {"log/monitor.csv": monitor, "log/model.zip": model, "log/evaluations.npz": evaluations}, given[:2]),
        Sample("sb3-progress", {"log/progress.csv": logged.encode(), "log/model.zip": model}, (*given, *no_mean)),
        Sample("rllib", {"log/progress.csv": progress, "log/params.json": params}, (*given[:2], *no_mean)),
        Sample("rllib-json", {"log/result.json": whole, "log/params.json": params}, (*given[:2], *no_mean)),
        Sample("tensorboard", {"log/run/events.out.tfevents.1": events()}, given),
        Sample(
            "map",
            {"log.csv": table.to_csv(index=False).encode(), "map.toml": b'utd = "utd"\nbatch_size = 64\nnames = "*"\n'},
            ("--map", "map.toml"),
            "log.csv",
            ("map.toml",),
        ),
    ]
    if recorded is not None:
        found.append(Sample("wandb", {"log/run-1/run-1.wandb": recorded}, ("--return", "r", "--env-step", "s", *given)))
    return found
