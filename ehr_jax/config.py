"""Every config key of an experiment on records, with its default and its meaning.

Files in `configs/` start from `defaults()` and change what their experiment changes; the command
line changes single keys: `--config.train.learning_rate=0.01`.
"""

import ml_collections


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
    config.synthetic.note_signal = 1.0  # how far outcomes depend on what only notes tell; 0 is not

    config.cohort = ml_collections.ConfigDict()
    config.cohort.task = "phenotype_next"  # a name of cohorts/spec.py: TASKS
    config.cohort.aces = ""  # a query in ACES's YAML, in place of the task; meds alone, extra aces
    config.cohort.protocol = "strict"  # strict, or paper: as published, with its faults printed
    config.cohort.split = "patient"  # at random; or source: its own. (paper has the published one)
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

    config.series = ml_collections.ConfigDict()  # read by --mode=prepare
    config.series.variables = ""  # "" is none; mimic17, physionet37 or yaib48: a grid of these
    config.series.step_hours = 1.0
    config.series.length = 48  # steps; the last one ends at the prediction time

    config.notes = ml_collections.ConfigDict()
    # own: the source's notes; record: structured content written as text; none; auto: own where
    # the source has notes, else record.
    config.notes.source = "auto"

    config.text = ml_collections.ConfigDict()
    config.text.encoder = (
        "all-MiniLM-L6-v2"  # a name of text/catalogue.py, or a checkpoint's folder
    )
    config.text.precision = "float32"  # or bfloat16: operands only, accumulated in float32
    config.text.cache = (
        ""  # folder of the vector cache; "" takes $EHR_JAX_CACHE or ~/.cache/ehr_jax
    )

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

    config.train = ml_collections.ConfigDict()
    config.train.seeds = (0, 1, 2, 3, 4)
    config.train.steps = 500  # full-batch steps at most
    config.train.learning_rate = 1e-3
    config.train.weight_decay = 1e-3  # L2 inside Adam
    config.train.clip = 1.0  # of the gradient's global norm
    config.train.positive_weight = "1"  # of a positive cell in the loss: a number, or balanced
    config.train.select = "auroc"  # validation metric that picks the step: auroc, auprc or loss
    config.train.eval_every = 5  # steps between validations
    config.train.patience = 20  # validations without a better one before stopping
    config.train.checkpoint_every = 4  # validations between checkpoints

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
