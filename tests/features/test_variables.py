import polars as pl
import pytest

from ehr_jax import errors
from ehr_jax.features import units, variable, variables
from ehr_jax.records.physionet2012 import survey
from ehr_jax.synthetic import series as synthetic_series

KNOWN = variables.VARIABLES


def converted(name: str, value: float, unit: str | None = None, item: str = "") -> tuple:
    """Returns (value, fault, clipped) of one measurement of a variable."""
    item = item or KNOWN[name].items[0].name
    rows = pl.LazyFrame(
        {"variable": [item], "value": [value], "unit": [unit]},
        schema={"variable": pl.String, "value": pl.Float64, "unit": pl.String},
    )
    row = variable.in_common_units(rows, (KNOWN[name],)).collect().row(0, named=True)
    return row["value"], variable.FAULTS[row["fault"]], row["clipped"]


@pytest.mark.parametrize("name, size", [("mimic17", 17), ("physionet37", 37), ("yaib48", 48)])
def test_sets_have_their_published_sizes(name, size):
    found = variables.named(name)
    assert len(found) == len({v.name for v in found}) == size


def test_unknown_set_suggests_the_near_miss():
    with pytest.raises(errors.ConfigError, match="'mimic17'"):
        variables.named("mimic_17")


def test_every_variable_is_in_a_set_and_its_limits_are_in_order():
    assert {name for names in variables.SETS.values() for name in names} == set(KNOWN)
    for v in KNOWN.values():
        assert v.least <= v.low < v.high <= v.most or v.name == "mechanical ventilation"
        assert v.unit in units.CONVERSIONS
        assert len({item.name for item in v.items}) == len(v.items)


@pytest.mark.parametrize("name", variables.SETS)
def test_no_item_means_two_variables_of_a_set(name):
    items = [item.name for v in variables.named(name) for item in v.items]
    assert len(items) == len(set(items))


def test_physionet37_covers_the_parameters_of_the_challenge_in_order():
    items = [
        [item.name for item in v.items if item.name.startswith("P12:")]
        for v in variables.named("physionet37")
    ]
    assert items == [["P12:" + name] for name in survey.PARAMETERS]


def test_yaib48_covers_the_columns_of_the_published_series(data_root):
    path = data_root / "yaib_demo" / "mortality24" / "eicu_demo" / "dyn.parquet"
    columns = pl.scan_parquet(path).collect_schema().names()[2:]
    items = [
        [item.name for item in v.items if item.name.startswith("YAIB:")]
        for v in variables.named("yaib48")
    ]
    assert items == [["YAIB:" + name] for name in columns]


def test_mimic17_has_the_items_and_limits_of_the_published_benchmark(data_root):
    """All its items that are ready, but those of fluids other than blood."""
    folder = data_root / "mimic3_benchmark_maps"
    table = pl.read_csv(folder / "itemid_to_variable_map.csv.gz", infer_schema=False)
    table = table.filter(pl.col("STATUS") == "ready")
    prefix = {"chartevents": "CHART:", "labevents": "LAB:"}
    published = {prefix[kind] + item for kind, item in table.select("LINKSTO", "ITEMID").rows()}
    other_fluids = {"LAB:51478", "LAB:50831", "LAB:51094", "LAB:51491"}
    ours = {item.name for v in variables.named("mimic17") for item in v.items}
    assert published - ours == other_fluids
    ranges = pl.read_csv(folder / "variable_ranges.csv").rename(str.lower)
    limits = ("outlier low", "valid low", "valid high", "outlier high")
    ranges = {
        row["level2"].lower(): [row[limit] for limit in limits]
        for row in ranges.rows(named=True)
        if row["level1"] is None
    }
    spelled = {
        "capillary refill": "capillary refill rate",
        "inspired oxygen": "fraction inspired oxygen",
    }
    for v in variables.named("mimic17"):
        name = spelled.get(v.name, v.name.lower().replace("glasgow", "glascow"))
        assert ranges[name] == pytest.approx([v.least, v.low, v.high, v.most]), v.name


@pytest.mark.parametrize(
    "table", ["mimic_iii_demo_1.4/D_LABITEMS", "mimic_iv_demo_2.2/hosp/d_labitems"]
)
def test_laboratory_items_are_of_blood(data_root, table):
    raw = pl.read_csv(data_root / f"{table}.csv.gz", infer_schema=False).rename(str.lower)
    fluids = dict(raw.select("LAB:" + pl.col("itemid"), "fluid").rows())
    ours = {
        item.name
        for v in KNOWN.values()
        for item in v.items
        if item.name.removeprefix("LAB:").isdigit()
    }
    assert {fluids[item] for item in ours if item in fluids} == {"Blood"}
    assert len(ours & set(fluids)) >= len(ours) - 1  # one item is MIMIC-IV's alone


def test_what_the_synthetic_hospital_measures_is_known_with_its_units():
    measured = {v.name: v for v in synthetic_series.VARIABLES}
    known = {}
    for v in KNOWN.values():
        for item in v.items:
            if item.name in measured:
                level, unit = measured[item.name].level, measured[item.name].unit
                level = round(level) if v.category else level
                assert converted(v.name, level, unit, item.name)[1] == "none", v.name
                known[item.name] = v.name
    assert set(known) == set(measured)


@pytest.mark.parametrize(
    "name, value, unit, item, wanted",
    [
        ("temperature", 98.6, None, "CHART:678", 37.0),
        ("temperature", 98.6, "?F", "CHART:223761", 37.0),
        ("temperature", 98.6, "Deg. F", "CHART:676", 37.0),  # the row's own unit wins
        ("temperature", 37.0, "°C", "CHART:223762", 37.0),
        ("temperature", 37.0, "&#176;C", "", 37.0),
        ("weight", 220.0, None, "CHART:226531", 99.7903214),
        ("weight", 2822.0, None, "CHART:3582", 80.0023529),
        ("weight", 80.0, "kg", "CHART:226531", 80.0),
        ("height", 70.0, "Inch", "", 177.8),
        ("height", 70.0, None, "CHART:1394", 177.8),
        ("height", 1.78, "m", "", 178.0),
        ("inspired oxygen", 40.0, None, "", 0.4),
        ("inspired oxygen", 0.4, "torr", "", 0.4),
        ("inspired oxygen", 1.0, None, "", 1.0),
        ("inspired oxygen", 100.0, "%", "", 1.0),
        ("oxygen saturation", 0.97, None, "", 97.0),
        ("oxygen saturation", 97.0, "%", "", 97.0),
        ("glucose", 5.5, "mmol/L", "", 99.088),
        ("creatinine", 88.42, "µmol/L", "", 1.0),
        ("sodium", 140.0, "mEq/L", "", 140.0),
        ("C-reactive protein", 6.1, "mg/dL", "LAB:CRP", 61.0),
    ],
)
def test_units_become_the_variables_own(name, value, unit, item, wanted):
    found = converted(name, value, unit, item)
    assert found == (pytest.approx(wanted, rel=1e-6), "none", False)


@pytest.mark.parametrize(
    "value, wanted",
    [
        (390.1, (None, "out of range", None)),
        (-0.1, (None, "out of range", None)),
        (390.0, (350.0, "none", True)),
        (350.0, (350.0, "none", False)),
        (0.0, (0.0, "none", False)),
    ],
)
def test_outliers_are_removed_and_what_lies_near_the_range_is_set_to_it(value, wanted):
    found = converted("heart rate", value)
    assert found[1] == wanted[1]
    if found[1] == "none":
        assert found == wanted


def test_unknown_unit_is_told():
    assert converted("heart rate", 80.0, "mmHg")[1] == "unknown unit"
    assert converted("weight", 80.0, "stone")[1] == "unknown unit"


def test_value_between_two_levels_of_a_category_is_told():
    name = "Glasgow coma scale eye opening"
    assert variable.levels(KNOWN[name]) == (1, 2, 3, 4)
    assert converted(name, 2.5)[1] == "between the levels of a category"
    assert converted(name, 5.0)[1] == "out of range"
    assert converted(name, 4.0) == (4.0, "none", False)


def test_item_of_two_variables_counts_for_each_and_others_are_left_out():
    wanted = (KNOWN["systolic blood pressure"], KNOWN["invasive systolic blood pressure"])
    rows = pl.LazyFrame(
        {
            "variable": ["CHART:51", "CHART:455", "CHART:1"],
            "value": [120.0] * 3,
            "unit": ["mmHg"] * 3,
        }
    )
    found = variable.in_common_units(rows, wanted).select("variable", "index").collect()
    assert sorted(found.rows()) == [("CHART:455", 0), ("CHART:51", 0), ("CHART:51", 1)]


# kept = scale * recorded + offset, of every conversion that changes a number.
SCALES = {
    ("mmHg", "kpa"): (7.50062, 0),
    ("C", "f"): (5 / 9, -160 / 9),
    ("C", "fahrenheit"): (5 / 9, -160 / 9),
    ("kg", "lb"): (0.45359237, 0),
    ("kg", "lbs"): (0.45359237, 0),
    ("kg", "pounds"): (0.45359237, 0),
    ("kg", "oz"): (0.028349523125, 0),
    ("kg", "ounces"): (0.028349523125, 0),
    ("kg", "g"): (0.001, 0),
    ("cm", "in"): (2.54, 0),
    ("cm", "inch"): (2.54, 0),
    ("cm", "inches"): (2.54, 0),
    ("cm", "m"): (100, 0),
    ("mg/dL", "mg/l"): (0.1, 0),
    ("mg/dL", "g/l"): (100, 0),
    ("mg/L", "mg/dl"): (10, 0),
    ("g/dL", "g/l"): (0.1, 0),
    ("mL", "l"): (1000, 0),
}
# Of one substance: molar masses in g/mol, and what else relates two units of it.
SUBSTANCES = {
    ("blood urea nitrogen", "mmol/l"): 28.014 / 10,
    ("bilirubin", "umol/l"): 584.66 / 10_000,
    ("direct bilirubin", "umol/l"): 584.66 / 10_000,
    ("cholesterol", "mmol/l"): 386.65 / 10,
    ("creatinine", "umol/l"): 113.12 / 10_000,
    ("glucose", "mmol/l"): 180.16 / 10,
    ("lactate", "mg/dl"): 10 / 90.08,
    ("magnesium", "mmol/l"): 24.305 / 10,
    ("magnesium", "meq/l"): 24.305 / 20,
    ("hemoglobin", "mmol/l"): 16.114 / 10,
    ("phosphate", "mmol/l"): 30.974 / 10,
    ("calcium", "mmol/l"): 40.078 / 10,
    ("ionized calcium", "mg/dl"): 10 / 40.078,
    ("mean corpuscular hemoglobin concentration", "%"): 1.0,
}


def test_every_conversion_is_what_the_units_say():
    found = {
        (unit, spelling): how
        for unit, ways in units.CONVERSIONS.items()
        for spelling, how in ways.items()
        if how != (1.0, 0.0)
    }
    assert found == {key: pytest.approx(how) for key, how in SCALES.items()}
    own = {(v.name, spelling): scale for v in KNOWN.values() for spelling, scale in v.other_units}
    assert own == {key: pytest.approx(scale, rel=2e-3) for key, scale in SUBSTANCES.items()}


def test_saturation_of_exactly_one_is_a_fraction():
    assert converted("oxygen saturation", 1.0) == (100.0, "none", False)
