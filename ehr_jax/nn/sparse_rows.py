"""A sparse matrix of row features as the input of a linear layer, never made dense.

Dropout on the stored values equals dropout on the dense matrix, for a dropped zero stays zero.
"""

import functools

import flax.struct
import jax
import jax.numpy as jnp
import numpy as np

from ehr_jax.nn import dropout, spmm


class SparseRows(flax.struct.PyTreeNode):
    """A constant matrix [row, column]; `rows @ kernel` gives gradients to the kernel alone.

    Attributes:
      pattern: where values stand, columns as sources and rows as targets.
      values: [stored] float32, in the order of `pattern.forward`.
      transposed: [stored] int32, the values' positions in the order of `pattern.backward`.
    """

    pattern: spmm.Incidence
    values: jax.Array
    transposed: jax.Array

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.pattern.forward.num_targets, self.pattern.forward.num_sources

    def __matmul__(self, kernel: jax.Array) -> jax.Array:
        """[row, column] @ [column, out] -> [row, out] float32."""
        return self.times(kernel)

    def times(self, kernel: jax.Array, precision: str = "float32") -> jax.Array:
        """`rows @ kernel`; precision, as in `spmm.sums`, of the rows of the kernel."""
        return _product(self, kernel, precision)

    def drop(self, rate: float, key: jax.Array) -> "SparseRows":
        """The same matrix with each value dropped at `rate`, the others scaled up."""
        return self.replace(values=dropout.drop(self.values, rate, key))

    def moments(self) -> tuple[jax.Array, jax.Array]:
        """(mean, biased variance) of every row over all columns, zeros included, [row] each."""
        lists = self.pattern.forward
        sums = functools.partial(
            jax.ops.segment_sum,
            segment_ids=lists.targets,
            num_segments=lists.num_targets,
            indices_are_sorted=True,
        )
        columns = lists.num_sources
        mean = sums(self.values) / columns
        stored = sums(jnp.ones_like(self.values))
        squares = sums(jnp.square(self.values - mean[lists.targets]))
        return mean, (squares + (columns - stored) * jnp.square(mean)) / columns

    def todense(self) -> jax.Array:
        """[row, column] float32."""
        lists = self.pattern.forward
        return jnp.zeros(self.shape).at[lists.targets, lists.sources].set(self.values)


def from_csr(
    indptr: np.ndarray, indices: np.ndarray, values: np.ndarray, shape: tuple[int, int]
) -> SparseRows:
    """Returns the matrix of a CSR triple without repeated entries (scipy's array names)."""
    indices = np.asarray(indices, np.int64)
    row = np.repeat(np.arange(shape[0]), np.diff(indptr))
    by_row, by_column = np.lexsort((indices, row)), np.lexsort((row, indices))
    position = np.empty(row.size, np.int64)
    position[by_row] = np.arange(row.size)
    return SparseRows(
        pattern=spmm.from_pairs(indices, row, shape[1], shape[0]),
        values=jnp.asarray(np.asarray(values)[by_row], jnp.float32),
        transposed=jnp.asarray(position[by_column], jnp.int32),
    )


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def _product(rows: SparseRows, kernel: jax.Array, precision: str) -> jax.Array:
    return spmm.sums(rows.pattern.forward, kernel, rows.values, precision=precision)


def _product_forward(rows, kernel, precision):
    return _product(rows, kernel, precision), rows


def _product_backward(precision, rows, cotangent):
    values = rows.values[rows.transposed]
    return None, spmm.sums(rows.pattern.backward, cotangent, values, precision=precision)


_product.defvjp(_product_forward, _product_backward)
