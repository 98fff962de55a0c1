"""The section `text`: the frozen text encoder."""

import dataclasses
import pathlib

from ehr_jax import errors, plugins
from ehr_jax.settings import Settings, setting

PRECISIONS = ("float32", "bfloat16")
POOLINGS = ("mean", "cls", "last")
CASINGS = ("cased", "uncased")
GLOBAL_TOKENS = ("cls", "none")
LONG = ("chunk", "truncate")
# The names of `encoders.ARCHITECTURES`, without importing them.
ARCHITECTURES = (
    "bert", "roberta", "xlm-roberta", "modernbert", "longformer", "llama", "mistral", "qwen2",
    "qwen3", "gemma3_text", "gemma3",
)  # fmt: skip
NAMES = plugins.Names("ehr_jax.architectures", ARCHITECTURES)
SUFFIXES = (".parquet", ".safetensors")  # of the output file


@dataclasses.dataclass(frozen=True)
class Text(Settings):
    """The encoder; None takes the value of the checkpoint's files or of text/catalogue.py."""

    encoder: str = setting(
        "all-MiniLM-L6-v2",
        "A name of text/catalogue.py, or a checkpoint's folder.",
        fits=lambda name: bool(name.strip()),
        expected="the name of an encoder, or a checkpoint's folder",
    )
    download: bool = setting(
        False, "Fetch an encoder that is not in the local cache from the Hugging Face hub."
    )
    precision: str = setting(
        "float32",
        "The type of the operands of matrix products; sums stay float32 with bfloat16 too.",
        choices=PRECISIONS,
    )
    cache: str = setting(
        "",
        "The folder of the vector cache; '' takes vectors/ in $EHR_JAX_CACHE or ~/.cache/ehr_jax.",
    )
    token_budget: int | None = setting(
        None,
        "Tokens of a batch with padding, on each device; None is 1,024 on a CPU, 16,384 elsewhere.",
        unit="tokens",
        least=1,
    )
    model_shards: int | None = setting(
        None,
        "The number of devices over which one copy of the parameters is divided; other devices "
        "encode other texts. None is as few as hold the parameters.",
        unit="devices",
        least=1,
    )
    architecture: str | None = setting(
        None,
        "The architecture that reads the checkpoint; None is the model_type of its config.json.",
        choices=NAMES,
    )
    pooling: str | None = setting(None, "How tokens become one vector.", choices=POOLINGS)
    normalise: bool | None = setting(None, "Scale vectors to unit length.")
    prefix: str | None = setting(None, "Text put before every text, such as 'query: '.")
    casing: str | None = setting(None, "uncased: texts are lower-cased.", choices=CASINGS)
    max_length: int | None = setting(
        None, "The most tokens of a text encoded at once.", unit="tokens", least=1
    )
    global_tokens: str | None = setting(
        None, "Which tokens of a Longformer have global attention.", choices=GLOBAL_TOKENS
    )
    end_token: str | None = setting(None, "The token that ends every chunk, such as '</s>'.")
    long: str = setting(
        "chunk",
        "How a text longer than max_length is encoded: chunk takes the mean of overlapping chunks, "
        "weighted by tokens; truncate keeps its beginning. max_length may exceed the default of "
        "the checkpoint's files, up to what the model's positions allow.",
        choices=LONG,
    )
    overlap: int | None = setting(
        None, "Tokens that two neighbouring chunks share; None is 32.", unit="tokens", least=0
    )


@dataclasses.dataclass(frozen=True)
class Embed(Text):
    """The encoder, and the input and output of --mode=embed."""

    input: str = setting(
        "", "One text a line (.txt, .txt.gz), or a table: .parquet, .csv, .csv.gz, .tsv."
    )
    column: str = setting("", "For a table: the column of texts; '' takes the only text column.")
    id: str = setting("", "For a table: a column to copy to a .parquet output.")
    output: str = setting("", "The file of vectors: .parquet or .safetensors.")
    verify: int = setting(
        0, "So many of the first 50,000 texts are encoded again to compare vectors.", unit="texts",
        least=0,
    )  # fmt: skip

    def check_together(self) -> None:
        """Raises ConfigError unless input and output are set and fit each other."""
        if not self.input:
            raise errors.ConfigError("config.text.input is missing; name a file of texts")
        if not self.output:
            raise errors.ConfigError(
                "config.text.output is missing; name a file that ends in .parquet or .safetensors"
            )
        file = pathlib.PurePath(self.output)
        if file.suffix not in SUFFIXES:
            raise errors.ConfigError(
                f"config.text.output: {file.name} ends in '{file.suffix}'; expected one of "
                f"{', '.join(SUFFIXES)}"
            )
        if self.id and file.suffix == ".safetensors":
            raise errors.ConfigError(
                f"config.text.id is '{self.id}', and a .safetensors file holds vectors alone; name "
                "a .parquet file"
            )
        if self.id in ("row", "vector"):
            raise errors.ConfigError(
                f"config.text.id is '{self.id}', the name of another column of the output; "
                "rename the input's column"
            )
