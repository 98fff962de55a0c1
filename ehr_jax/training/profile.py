"""What a training program costs: its compilation, operations, memory, and a trace of a few steps.

Written before training, from a state of its own, so that the run is what it would be without.
"""

import contextlib
import logging
import pathlib
import time
from collections.abc import Iterator

import flax.linen as nn
import jax

from ehr_jax.training import exchange, fit, run_folder, task


def write(model: nn.Module, data: task.Task, config, folder: pathlib.Path) -> dict:
    """Compiles a chunk of training as config.train describes it, runs it twice, the second traced.

    FOLDER/program.json: seconds to compile and of the chunk (steps and the validation after them);
    operations and bytes as the compiler counts them, of loops one turn; bytes of arguments, results
    and temporaries; bytes that devices exchange. FOLDER/program.txt: the compiled program.
    Of stays that are fed from the host (`feeding`), seconds are of a chunk and all else of a step.
    FOLDER/memory.prof: what is held on the device, for `pprof`. FOLDER/trace/: for TensorBoard or
    Perfetto.

    Returns:
      What program.json holds.
    """
    folder.mkdir(parents=True, exist_ok=True)
    key = jax.random.key(0)
    state = fit.init_state(model, fit.make_optimiser(config), data, key)
    program = fit.compile_chunk(model, data, config)
    found = {"compile_seconds": program.seconds, "steps": config.eval_every}
    state, _ = jax.block_until_ready(program.run(state, data, key))
    with jax.profiler.trace(str(folder / "trace"), create_perfetto_trace=True):
        began = time.perf_counter()
        jax.block_until_ready(program.run(state, data, key))
        found["seconds"] = time.perf_counter() - began
    jax.profiler.save_device_memory_profile(str(folder / "memory.prof"))
    compiled = program.compiled
    text = compiled.as_text()
    cost, memory = compiled.cost_analysis() or {}, compiled.memory_analysis()
    found |= {
        "operations": cost.get("flops"),
        "bytes_accessed": cost.get("bytes accessed"),
        "argument_bytes": getattr(memory, "argument_size_in_bytes", None),
        "result_bytes": getattr(memory, "output_size_in_bytes", None),
        "temporary_bytes": getattr(memory, "temp_size_in_bytes", None),
        "exchanged_bytes": exchange.exchanged_bytes(text),
    }
    run_folder.write_whole(folder / "program.txt", lambda path: pathlib.Path(path).write_text(text))
    run_folder.write_json(folder / "program.json", found)
    return found


@contextlib.contextmanager
def compile_log(path: pathlib.Path) -> Iterator[None]:
    """Writes a line for every program that is compiled meanwhile."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handler = logging.FileHandler(path, mode="w", encoding="utf-8")
    handler.addFilter(lambda record: record.getMessage().startswith("Finished XLA compilation"))
    handler.setFormatter(logging.Formatter("%(asctime)s %(message)s"))
    logger = logging.getLogger("jax")
    propagates = logger.propagate
    logger.addHandler(handler)
    logger.propagate = False  # the file alone, not the terminal
    try:
        with jax.log_compiles(True):
            yield
    finally:
        logger.removeHandler(handler)
        logger.propagate = propagates
        handler.close()
