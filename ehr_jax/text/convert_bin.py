"""python -m ehr_jax.text.convert_bin FOLDER: writes pickled weights as safetensors beside them.

Some checkpoints are published as pytorch_model.bin alone, a pickle, which can run code when it is
read. Nothing else here reads one. This command does, at the user's word, with the PyTorch the user
has installed, and only by its loader that takes tensors and nothing else.
"""

import json
import re
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from ehr_jax import storage
from ehr_jax.errors import TextError, UserError
from ehr_jax.text import weights

SINGLE, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
OLDEST = (2, 10)  # releases before it let crafted files past weights_only


def main(arguments: list[str]) -> int:
    """Converts the folder that is named; the exit status is 2 for a mistake of the user's."""
    if len(arguments) != 2 or arguments[1].startswith("-"):
        print(__doc__, file=sys.stderr)
        return 2
    try:
        for path in convert(Path(arguments[1]).expanduser()):
            print(path)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    return 0


def convert(folder: Path) -> list[Path]:
    """Writes model.safetensors, or shards and their index, beside the pickled files of a folder.

    Tensors keep their names, numbers and dtypes. Each file appears whole or not at all, the index
    last, so that a killed call leaves nothing that would be read.

    Returns:
        the files written, in the order of reading.

    Raises:
        TextError: no PyTorch or one too old; no pickled weights, or safetensors are there already;
            a file that is damaged, holds more than tensors, or an index that names no shards.
    """
    torch = _torch()
    if not folder.is_dir():
        raise TextError(f"{folder}: no such folder; name that of the checkpoint")
    for name in (weights.SINGLE, weights.INDEX):
        if (folder / name).exists():
            raise TextError(f"{folder / name}: is there already; there is nothing to convert")
    if (folder / SINGLE).is_file():
        return [_convert_file(folder / SINGLE, folder / weights.SINGLE, torch)[0]]
    if not (folder / INDEX).is_file():
        raise TextError(f"{folder}: neither {SINGLE} nor {INDEX} is there; name another folder")
    shards = _shards(folder / INDEX)
    written, where, size = [], {}, 0
    for number, shard in enumerate(shards, 1):
        target = folder / f"model-{number:05}-of-{len(shards):05}.safetensors"
        path, tensors = _convert_file(shard, target, torch)
        written.append(path)
        where |= dict.fromkeys(tensors, path.name)
        size += sum(tensors.values())
    content = json.dumps({"metadata": {"total_size": size}, "weight_map": where}, indent=2)
    try:
        storage.write_text(folder / weights.INDEX, content + "\n", private=False)
    except OSError as error:
        raise TextError(f"{folder}: cannot be written ({storage.reason(error)})") from error
    return [folder / weights.INDEX, *written]


def _torch():
    try:
        import torch
    except ImportError as error:
        raise TextError(
            "PyTorch is not installed, and only it reads pickled weights. Install it for this one "
            "command, best in an environment of its own: pip install 'torch>=2.10'"
        ) from error
    found = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if found < OLDEST:
        raise TextError(
            f"PyTorch {torch.__version__} is too old to read pickled weights safely; install "
            "torch>=2.10"
        )
    return torch


def _shards(index: Path) -> list[Path]:
    content = weights.read_json(index)
    names = content.get("weight_map") if isinstance(content, Mapping) else None
    if not isinstance(names, Mapping) or not names:
        raise TextError(f"{index}: no weight_map of tensors to files; fetch the file again")
    files = []
    for name in sorted(map(str, set(names.values()))):
        if PurePosixPath(name).name != name or "\\" in name or not name.endswith(".bin"):
            raise TextError(f"{index}: names the file {name!r}; expected *.bin in its own folder")
        if not (index.parent / name).is_file():
            raise TextError(f"{index.parent / name}: file is missing; {index.name} names it")
        files.append(index.parent / name)
    return files


def _convert_file(source: Path, target: Path, torch) -> tuple[Path, dict[str, int]]:
    """Writes one file; returns it, and the bytes of each of its tensors."""
    import safetensors.torch  # imports PyTorch

    tensors = _read(source, torch)
    # Each name gets numbers of its own: safetensors takes no two that share memory, as tied
    # embeddings do, and none that is a view of another.
    tensors = {
        name: tensor.clone(memory_format=torch.contiguous_format)
        for name, tensor in tensors.items()
    }

    def write(temporary: str) -> None:
        safetensors.torch.save_file(tensors, temporary, metadata={"format": "pt"})
        weights.check_header(Path(temporary))

    try:
        storage.write_file(target, write, private=False)
    except (OSError, safetensors.SafetensorError, ValueError, RuntimeError) as error:
        raise TextError(f"{target}: cannot be written ({error})") from error
    return target, {name: tensor.nbytes for name, tensor in tensors.items()}


def _read(path: Path, torch) -> dict:
    mapped = zipfile.is_zipfile(path)  # the older format cannot be mapped into memory
    try:
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:  # whatever a damaged or crafted pickle makes it raise
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:200]
        raise TextError(
            f"{path}: not read; it is damaged, or holds more than tensors ({reason})"
        ) from error
    strange = [
        str(name)
        for name, value in (content.items() if isinstance(content, Mapping) else [("all", content)])
        if not isinstance(name, str) or not isinstance(value, torch.Tensor)
    ]
    if strange or not content:
        held = ", ".join(strange[:5]) or "nothing"
        raise TextError(f"{path}: expected names and tensors alone, found {held}")
    return dict(content)


if __name__ == "__main__":
    sys.exit(main(sys.argv))
