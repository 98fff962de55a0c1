"""The contract of a network, beside what its kind of input calls it with."""

from typing import Protocol


class Network(Protocol):
    """A network that training can populate, shard and measure.

    Attributes:
      RATES: names of its dropout rates in which members of a population may differ.
      SPREADS: True if it has a field `axis`, over which visits are spread or streamed.
      width: of its states; of a network fed by batches, the columns of its products.
    """

    RATES: tuple[str, ...]
    SPREADS: bool
    width: int
