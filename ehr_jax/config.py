"""Every config key of an experiment on records, with its default and its meaning.

Files in `configs/` start from `defaults()` and change what their experiment changes; the command
line changes single keys: `--config.train.learning_rate=0.01`.
"""

from collections.abc import Mapping

import ml_collections

from ehr_jax import errors


def variant_of(
    file: str, variants: Mapping[str, Mapping], variant: str, common: Mapping
) -> ml_collections.ConfigDict:
    """Returns the defaults, changed by `common` and then by the keys of `variants[variant]`.

    Raises:
      ConfigError: `file` has no such variant.
    """
    if variant not in variants:
        raise errors.ConfigError(
            f"{file} has no variant '{variant}'; expected one of {', '.join(variants)}."
            f"{errors.did_you_mean(variant, variants)}"
        )
    config = defaults()
    config.update_from_flattened_dict({**common, **variants[variant]})
    return config


# What configs of networks over stays begin with.
STAYS = {
    "cohort.task": "mortality",
    "series.variables": "mimic17",
    "train.learning_rate": 1e-3,
    "train.weight_decay": 1e-5,
    "train.steps": 3000,
    "train.eval_every": 50,
    "train.patience": 12,
}
# MINGLE's half of a network of both: with so few visits as the stays of one hospital, fixed node
# vectors do better.
UNIFIED = {
    "model.name": "unified",
    "realm.use_visit": True,
    "model.depth": 1,
    "model.dropout": 0.5,
    "model.train_nodes": False,
    "features.min_visits": 3,
    "benchmark.reference": "unified",
}
# In-hospital death in eICU, 24 hours into the ICU stay, when APACHE IV has made its own prediction.
# The demo's vital signs and laboratory values come of YAIB's hourly table of the same stays; with
# the whole release, whose own tables have them, set data.series to "".
EICU_MORTALITY = UNIFIED | {
    "data.source": "eicu",
    "data.series": "yaib_demo/los/eicu_demo",
    "task.after_hours": 24.0,
    "series.variables": "yaib48",
    "series.length": 24,
    "realm.series_summary": True,
    "realm.width": 64,
    "realm.feed_forward": 128,
    "realm.dropout": 0.5,
    # Some 60 deaths to learn from in the demo: less decay overfits within a hundred steps.
    "train.weight_decay": 1e-2,
    "train.steps": 200,
    "train.eval_every": 25,
    "train.patience": 4,
}


def defaults() -> ml_collections.ConfigDict:
    """Returns the documented defaults."""
    config = ml_collections.ConfigDict()

    config.data = ml_collections.ConfigDict()
    config.data.source = "synthetic"  # synthetic, or a name of records/sources.py
    config.data.root = ""  # the folder of the source; "" looks in $EHR_JAX_DATA and the user cache
    config.data.series = ""  # eicu: folder of an hourly series (YAIB dyn.parquet) of its stays

    config.download = ml_collections.ConfigDict()  # read by --mode=download
    config.download.name = ""  # an open data set of download/publishers.py

    config.synthetic = ml_collections.ConfigDict()  # read where data.source is synthetic
    config.synthetic.patients = 1500
    config.synthetic.seed = 0
    config.synthetic.sites = 1  # hospitals; of several, each writes codes of its own
    config.synthetic.note_signal = 1.0  # how far outcomes depend on what only notes tell; 0 is not
    # How far deaths depend on what is known of a rare disease in the notes; None: none is there.
    # cohort.split="source" then tests on diseases that were not trained on.
    config.synthetic.knowledge_signal = ml_collections.config_dict.placeholder(float)

    config.cohort = ml_collections.ConfigDict()
    config.cohort.task = "phenotype_next"  # a name of cohorts/spec.py: TASKS
    config.cohort.aces = ""  # a query in ACES's YAML, in place of the task; meds alone, extra aces
    config.cohort.protocol = "strict"  # strict, or paper: as published, with its faults printed
    config.cohort.split = "patient"  # at random; or source: its own. (paper has the published one)
    config.cohort.folds = 1  # --mode=benchmark: of more, every patient is tested once
    config.cohort.split_seed = 0  # of the split by patient; the same split for every training seed

    # Changes to the task's own description (cohorts/spec.py); None leaves it as it is.
    config.task = ml_collections.ConfigDict()
    config.task.after_hours = ml_collections.config_dict.placeholder(float)
    config.task.gap_hours = ml_collections.config_dict.placeholder(float)
    config.task.horizon_days = ml_collections.config_dict.placeholder(float)
    config.task.more_than_days = ml_collections.config_dict.placeholder(float)
    config.task.codes = ml_collections.config_dict.placeholder(tuple)  # ("ICD9CM:390-459",)
    config.task.exclude = ml_collections.config_dict.placeholder(tuple)  # names of cohorts/rules.py

    config.features = ml_collections.ConfigDict()
    config.features.columns = "codes"  # codes, or full: structured attributes become nodes too
    config.features.categories = True  # cut ICD-9-CM diagnoses to 3 characters (E codes: 4)
    config.features.main_diagnosis = False  # the first-listed diagnosis is a node of its own too
    config.features.history = (
        False  # codes of the patient's earlier visits become nodes of their own
    )
    config.features.measurements = False  # last values before the prediction time become nodes
    config.features.min_visits = 1  # a node is held by at least so many training visits
    config.features.bins = 10  # of a numeric attribute, at training quantiles
    config.features.structure_width = 64
    config.features.structure_window = 5  # of the random walks that NetMF stands for

    config.series = ml_collections.ConfigDict()  # of --mode=prepare and of stays
    config.series.variables = ""  # "" is none; mimic17, physionet37 or yaib48: a grid of these
    config.series.step_hours = 1.0
    config.series.length = 48  # steps; the last one ends at the prediction time

    config.notes = ml_collections.ConfigDict()
    # own: the source's notes; record: structured content written as text; none; auto: own where
    # the source has notes, else record.
    config.notes.source = "auto"
    config.notes.piece_words = 150  # of stays: a note is cut after so many words
    config.notes.pieces = 16  # of stays: the last so many before the prediction time

    config.text = _text()

    config.knowledge = ml_collections.ConfigDict()  # read where config.realm.use_knowledge
    config.knowledge.graph = "hetionet_do"  # or primekg, or the folder of a built graph
    config.knowledge.extractor = "gazetteer"  # or language_model, on a server that you run
    config.knowledge.rules = True  # leave out what notes deny or say of the family
    config.knowledge.precision = 0.9  # of what is linked by meaning, on synonyms that are known
    # Least cosine of such a link, in place of a calibrated one (EMERGE: 0.6 mimic3, 0.7 mimic4).
    config.knowledge.threshold = ml_collections.config_dict.placeholder(float)
    config.knowledge.z_score = 2.0  # of a series' value, beyond which it is an entity
    # Definitions and descriptions; or emerge: with triples; or names: names alone, a control.
    config.knowledge.rendering = "realm"
    config.knowledge.form = "sequence"  # a vector an entity; or vector: one a stay
    config.knowledge.entities = 10  # of a stay, at most
    config.knowledge.seed = 0  # of the triples that are told
    config.knowledge.server_url = "http://localhost:8000/v1"  # OpenAI-compatible
    config.knowledge.server_model = ""  # the name the server has for its model
    config.knowledge.allow_remote_server = False  # notes leave this machine's network
    config.knowledge.cache = ""  # of the server's answers; "" takes the user's

    config.audit = ml_collections.ConfigDict()
    config.audit.stop = True  # a strict run stops where patients, times or fitted parts leak

    config.model = ml_collections.ConfigDict()
    config.model.name = "mingle"  # a method of ehr_jax.models.registry
    config.model.depth = 3  # L; L + 1 readings of nodes by hyperedges
    config.model.width = 48
    config.model.heads = 4
    config.model.feed_forward_depth = 2
    config.model.half_layer = "attention"  # or deep_set
    config.model.use_notes = True
    config.model.use_concepts = True  # vectors of code names
    config.model.train_nodes = True
    config.model.input_dropout = 0.2
    config.model.dropout = 0.0
    config.model.precision = "float32"  # or bfloat16: operands only, accumulated in float32

    config.realm = _realm()  # read where the model is REALM or one of its kin

    config.train = ml_collections.ConfigDict()
    config.train.seeds = (0, 1, 2, 3, 4)
    config.train.members = 1  # fits of a seed; its probabilities are their mean
    config.train.steps = 500  # full-batch steps at most
    config.train.learning_rate = 1e-3
    config.train.weight_decay = 1e-3  # L2 inside Adam
    config.train.clip = 1.0  # of the gradient's global norm
    config.train.positive_weight = "1"  # of a positive cell in the loss: a number, or balanced
    config.train.select = "auroc"  # validation metric that picks the step: auroc, auprc or loss
    # A method that is no network, such as lightgbm_windows: networks learn, beside the labels, what
    # it says of training samples, each from a fit without that patient; see training/teacher.py.
    config.train.teacher = ""
    config.train.teacher_share = 0.5  # of its scores in what is learned; the rest is the labels'
    config.train.batch = 64  # stays a step; networks over visits take all at once
    # Over how many devices visits, or the stays of a batch, are spread; None: all there are, or one
    # where the members of all seeds go over the devices instead, as many or more.
    config.train.devices = ml_collections.config_dict.placeholder(int)
    # Networks over visits, on one device: compute so many shards of visits one after another, for
    # a hypergraph whose states do not fit into its memory. Slower, and the result is the same.
    config.train.shards = 1
    config.train.eval_every = 5  # steps between validations
    config.train.patience = 20  # validations without a better one before stopping
    config.train.checkpoint_every = 4  # validations between checkpoints
    # Seeds, or trials of a sweep, trained as one program at most; 1 is one after another, None as
    # many as fit in memory.
    config.train.population = ml_collections.config_dict.placeholder(int)

    config.profile = False  # write profile/ into the run: cost, memory, trace; training/profile.py

    config.sweep = ml_collections.ConfigDict()  # read by --mode=sweep; see modes/sweep_plan.py
    # Values to try, by section and key, each with each: {"train": {"learning_rate": (1e-3, 3e-3)}}
    config.sweep.grid = ml_collections.ConfigDict()
    # What to draw from, each range a key: ("uniform", low, high), ("log", low, high),
    # ("integer", low, high), both ends in, or ("choice", value, value, ...)
    config.sweep.ranges = ml_collections.ConfigDict()
    config.sweep.draws = 0  # of the ranges
    config.sweep.seed = 0  # of the draws
    config.sweep.seeds = ()  # training seeds of every trial; () is config.train.seeds
    config.sweep.halving = ()  # steps at which the worse half of the trials is dropped: (50, 100)
    # Population-based training: every so many steps the worst quarter goes on from the best, with
    # settings near theirs. Nothing stops early then. 0 is off; see modes/sweep_pbt.py.
    config.sweep.pbt_every = 0
    # Optuna's journal file, by which processes and machines share config.sweep.draws; "" is off.
    # See modes/sweep_optuna.py.
    config.sweep.optuna = ""

    config.evaluation = ml_collections.ConfigDict()
    config.evaluation.resamples = 1000  # of patients, for 95 % intervals
    config.evaluation.seed = 0

    config.benchmark = ml_collections.ConfigDict()  # read by --mode=benchmark
    config.benchmark.methods = (
        "logistic_regression",
        "logistic_regression_notes",
        "lightgbm",
        "mlp",
        "alldeepsets",
        "hypehr",
        "mingle_no_notes",
        "mingle_no_concepts",
        "mingle",
    )
    config.benchmark.reference = "mingle"  # paired differences are to this method
    return config


def predict() -> ml_collections.ConfigDict:
    """The documented defaults of --mode=predict."""
    config = ml_collections.ConfigDict()
    config.run = ""  # the folder of a finished run
    config.data = ml_collections.ConfigDict()  # None: what the run was trained on
    config.data.source = ml_collections.config_dict.placeholder(str)
    config.data.root = ml_collections.config_dict.placeholder(str)
    config.data.series = ml_collections.config_dict.placeholder(str)
    return config


def embed() -> ml_collections.ConfigDict:
    """Returns the documented defaults of --mode=embed: the section `text` alone, with its files."""
    config = ml_collections.ConfigDict()
    config.text = _text()
    config.text.input = ""  # one text a line (.txt, .txt.gz), or .parquet, .csv, .csv.gz, .tsv
    config.text.column = ""  # of a table: the texts; "" takes the only column of text
    config.text.id = ""  # of a table: a column that goes along into a .parquet output
    config.text.output = ""  # .parquet or .safetensors
    config.text.verify = 0  # of the first 50,000 texts, so many encoded again and compared
    return config


def _realm() -> ml_collections.ConfigDict:
    """The network over stays; see models/realm.py."""
    realm = ml_collections.ConfigDict()
    # realm: sequences; or of single vectors: emerge_code, emerge_paper, concat, tensor, mag.
    realm.variant = "realm"
    realm.width = 128
    realm.heads = 4
    realm.feed_forward = 256
    realm.series_encoder = "gru"  # gru, gru_d, lstm, transformer
    realm.series_layers = 1
    realm.bidirectional = False
    realm.series_summary = False  # the head is given statistics of the series too
    # Training patients' deaths within so many days are learned beside the label, and not scored.
    realm.survival_days = ()
    realm.norm = "layer"  # of attention blocks; or batch: over the stays of a training batch
    realm.gate = "scalar"  # mixing weights as published; or input: each stay its own
    realm.use_series = True
    realm.use_notes = True
    realm.use_knowledge = True
    realm.use_statics = True
    realm.use_visit = False  # model.name unified: the state of the visit's codes, by MINGLE
    realm.dropout = 0.25
    realm.dtype = "float32"  # of the operands of products; or bfloat16, sums stay float32
    return realm


def _text() -> ml_collections.ConfigDict:
    """The frozen text encoder. None: what the checkpoint's files and text/catalogue.py say."""
    text = ml_collections.ConfigDict()
    text.encoder = "all-MiniLM-L6-v2"  # a name of text/catalogue.py, or a checkpoint's folder
    text.download = False  # True fetches an encoder that is not here from the Hugging Face hub
    text.precision = "float32"  # or bfloat16: operands only, accumulated in float32
    text.cache = ""  # folder of the vector cache; "" takes $EHR_JAX_CACHE or ~/.cache/ehr_jax
    # Padded tokens of a batch, on each device; None: 1,024 on a CPU, 16,384 elsewhere.
    text.token_budget = ml_collections.config_dict.placeholder(int)
    # Devices that share the parameters, others take texts of their own; None: as few as hold them.
    text.model_shards = ml_collections.config_dict.placeholder(int)

    text.pooling = ml_collections.config_dict.placeholder(str)  # mean, cls or last
    text.normalise = ml_collections.config_dict.placeholder(bool)  # vectors of unit length
    text.prefix = ml_collections.config_dict.placeholder(str)  # before every text: "query: "
    text.casing = ml_collections.config_dict.placeholder(str)  # cased, or uncased: lower-cased
    text.max_length = ml_collections.config_dict.placeholder(int)  # tokens read at once
    text.global_tokens = ml_collections.config_dict.placeholder(str)  # a Longformer's: cls, none
    text.end_token = ml_collections.config_dict.placeholder(str)  # closes every chunk: "</s>"

    # A text beyond max_length: chunk encodes it in pieces that overlap and takes their mean
    # weighted by tokens, truncate keeps its beginning. A window longer than the files' own default
    # is max_length, up to what the model's positions allow.
    text.long = "chunk"
    text.overlap = ml_collections.config_dict.placeholder(int)  # tokens two pieces share; None: 32
    return text
