"""A profile says what a program costs, and changes nothing of the run."""

import json

import arrays as make
import jax

from ehr_jax.models import registry
from ehr_jax.training import problem, profile


def test_a_profile_holds_cost_memory_and_trace(tmp_path):
    config = registry.configure(make.make_config(train__eval_every=2), "mlp_notes")
    data = problem.build(make.make_arrays(), 1.0)
    found = profile.write(registry.build(config, 2), data, config.train, tmp_path)
    assert found == json.loads((tmp_path / "program.json").read_text())
    assert found["steps"] == 2 and found["seconds"] > 0
    assert found["argument_bytes"] >= sum(x.nbytes for x in jax.tree.leaves(data.train_labels))
    assert found["exchanged_bytes"] == {}
    assert "ENTRY" in (tmp_path / "program.txt").read_text()
    assert (tmp_path / "memory.prof").stat().st_size
    assert list((tmp_path / "trace").rglob("*.xplane.pb"))


def test_every_compilation_is_a_line(tmp_path, capsys):
    path = tmp_path / "compiled.log"
    with profile.compile_log(path):
        jax.jit(lambda x: x * 3 + 1, keep_unused=True)(1.0)
    lines = path.read_text().splitlines()
    assert len(lines) >= 1 and all("Finished XLA compilation" in line for line in lines)
    assert "XLA" not in capsys.readouterr().err
    size = path.stat().st_size
    jax.jit(lambda x: x * 5 + 2)(1.0)
    assert path.stat().st_size == size
