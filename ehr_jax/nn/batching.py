"""Functions whose vmapped call is one call, the members of the batch side by side in columns."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp


def side_by_side(function: Callable) -> Callable:
    """Returns `function(fixed, *arrays)` with a batching rule of its own.

    Args:
      function: takes a pytree of arrays, `fixed`, and arrays [row, column, ...]; gives arrays of
        this form. Column c of its results depends on column c of the arrays alone, and there may
        be any number of columns.

    Returns:
      The same function. Where vmap batches the arrays, the members' columns are laid side by side
      and `function` is called once; where `fixed` differs too, members go one after another.
    """
    run = jax.custom_batching.custom_vmap(function)

    @run.def_vmap
    def run_many(size, in_batched, fixed, *arrays):
        fixed_differs, *differs = in_batched
        if any(jax.tree.leaves(fixed_differs)):
            return _one_after_another(run, size, in_batched, (fixed, *arrays))
        columns = [
            jnp.moveaxis(array, 0, 1)
            if batched
            else jnp.broadcast_to(array[:, None], (len(array), size, *array.shape[1:]))
            for array, batched in zip(arrays, differs, strict=True)
        ]
        merged = [
            array.reshape(len(array), size * array.shape[2], *array.shape[3:]) for array in columns
        ]

        def apart(result):
            rows, all_columns, *rest = result.shape
            return jnp.moveaxis(result.reshape(rows, size, all_columns // size, *rest), 1, 0)

        results = run(fixed, *merged)
        return jax.tree.map(apart, results), jax.tree.map(lambda _: True, results)

    return functools.wraps(function)(run)


def _one_after_another(run, size, in_batched, arguments):
    leaves, tree = jax.tree.flatten(arguments)
    batched = jax.tree.leaves(in_batched)

    def one(member):
        picked = [
            jnp.asarray(leaf)[member] if differs else leaf
            for leaf, differs in zip(leaves, batched, strict=True)
        ]
        return run(*jax.tree.unflatten(tree, picked))

    results = jax.lax.map(one, jnp.arange(size))
    return results, jax.tree.map(lambda _: True, results)
