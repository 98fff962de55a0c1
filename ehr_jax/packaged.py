"""Tables that travel with the package: CSV files beside the code that reads them."""

import csv
import importlib.resources


def rows(package: str, file: str) -> list[dict[str, str]]:
    """Returns the rows of a CSV file of a package, as texts by column.

    Args:
      package: such as "ehr_jax.features".
      file: its path below the package's folder.
    """
    path = importlib.resources.files(package).joinpath(file)
    with path.open(encoding="utf-8", newline="") as lines:
        return list(csv.DictReader(lines))
