"""The section `text`: the frozen text encoder."""

import dataclasses
import pathlib

from ehr_jax import errors
from ehr_jax.settings import setting

PRECISIONS = ("float32", "bfloat16")
POOLINGS = ("mean", "cls", "last")
CASINGS = ("cased", "uncased")
GLOBAL_TOKENS = ("cls", "none")
LONG = ("chunk", "truncate")
SUFFIXES = (".parquet", ".safetensors")  # of an output


@dataclasses.dataclass(frozen=True)
class Text:
    """The encoder; None is what the checkpoint's files and text/catalogue.py say."""

    encoder: str = setting(
        "all-MiniLM-L6-v2",
        "A name of text/catalogue.py, or a checkpoint's folder.",
        fits=lambda name: bool(name.strip()),
        expected="the name of an encoder, or a checkpoint's folder",
    )
    download: bool = setting(False, "Fetch an encoder that is not here from the Hugging Face hub.")
    precision: str = setting(
        "float32",
        "The operands of products; with bfloat16 sums stay float32.",
        choices=PRECISIONS,
    )
    cache: str = setting(
        "",
        "The folder of the vector cache; '' takes vectors/ in $EHR_JAX_CACHE or ~/.cache/ehr_jax.",
    )
    token_budget: int | None = setting(
        None,
        "Padded tokens of a batch, on each device; None is 1,024 on a CPU, 16,384 elsewhere.",
        unit="tokens",
        least=1,
    )
    model_shards: int | None = setting(
        None,
        "Devices that share the parameters, while others take texts of their own; None is as few "
        "as hold them.",
        unit="devices",
        least=1,
    )
    pooling: str | None = setting(None, "How tokens become one vector.", choices=POOLINGS)
    normalise: bool | None = setting(None, "Vectors of unit length.")
    prefix: str | None = setting(None, "What stands before every text, such as 'query: '.")
    casing: str | None = setting(None, "uncased: texts are lower-cased.", choices=CASINGS)
    max_length: int | None = setting(None, "Tokens read at once.", unit="tokens", least=1)
    global_tokens: str | None = setting(
        None, "Which tokens of a Longformer see all others.", choices=GLOBAL_TOKENS
    )
    end_token: str | None = setting(None, "What closes every chunk, such as '</s>'.")
    long: str = setting(
        "chunk",
        "What becomes of a text beyond max_length: chunk encodes it in pieces that overlap and "
        "takes their mean weighted by tokens, truncate keeps its beginning. max_length may be "
        "longer than the files' own default, up to what the model's positions allow.",
        choices=LONG,
    )
    overlap: int | None = setting(
        None, "Tokens that two pieces share; None is 32.", unit="tokens", least=0
    )


@dataclasses.dataclass(frozen=True)
class Embed(Text):
    """The encoder, and the files of --mode=embed."""

    input: str = setting(
        "", "One text a line (.txt, .txt.gz), or a table: .parquet, .csv, .csv.gz, .tsv."
    )
    column: str = setting("", "Of a table: the column of texts; '' takes the only column of text.")
    id: str = setting("", "Of a table: a column that goes along into a .parquet output.")
    output: str = setting("", "The file of vectors: .parquet or .safetensors.")
    verify: int = setting(
        0, "So many of the first 50,000 texts are encoded again and compared.", unit="texts",
        least=0,
    )  # fmt: skip

    def check_together(self) -> None:
        """Raises ConfigError unless input and output are named, and can be of these kinds."""
        if not self.input:
            raise errors.ConfigError("config.text.input is missing; name a file of texts")
        if not self.output:
            raise errors.ConfigError(
                "config.text.output is missing; name a file that ends on .parquet or .safetensors"
            )
        file = pathlib.PurePath(self.output)
        if file.suffix not in SUFFIXES:
            raise errors.ConfigError(
                f"config.text.output: {file.name} ends on '{file.suffix}'; expected one of "
                f"{', '.join(SUFFIXES)}"
            )
        if self.id and file.suffix == ".safetensors":
            raise errors.ConfigError(
                f"config.text.id is '{self.id}', and a .safetensors file holds vectors alone; name "
                "a .parquet file"
            )
        if self.id in ("row", "vector"):
            raise errors.ConfigError(
                f"config.text.id is '{self.id}', a name the output has a column of its own for; "
                "rename that of the input"
            )
