import datetime
import gzip
import io
import pathlib
import stat
import tarfile
import zipfile

import hypothesis
import polars as pl
import pytest
from hypothesis import strategies as st

from ehr_jax import errors
from ehr_jax.cohorts import tasks
from ehr_jax.records import sources
from ehr_jax.records.common import archives
from ehr_jax.records.meds import reader as meds
from ehr_jax.records.meds import writer
from ehr_jax.records.physionet2012 import reader as physionet2012
from ehr_jax.records.physionet2012 import survey

HEADER = "Time,Parameter,Value\n"
OUTCOMES = "RecordID,SAPS-I,SOFA,Length_of_stay,Survival,In-hospital_death\n"

# Three stays: one that dies after 5 days, one unknown in everything, one of the shortest.
STAYS = {
    101: "00:00,RecordID,101\n00:00,Age,54\n00:00,Gender,0\n00:00,Height,170.2\n00:00,ICUType,4\n"
    "00:00,Weight,80\n00:07,HR,73\n25:10,HR,75.5\n48:00,Weight,81\n",
    102: "00:00,RecordID,102\n00:00,Age,-1\n00:00,Gender,-1\n00:00,Height,-1\n00:00,ICUType,9\n"
    "00:00,Weight,-1\n01:00,Temp,-17.8\n",
    103: "00:00,RecordID,103\n00:00,Age,90\n00:00,Gender,1\n00:00,Height,-1\n00:00,ICUType,1\n"
    "00:00,Weight,-1\n",
}
ENDINGS = {101: "101,6,1,5,5,1", 102: "102,-1,-1,-1,-1,0", 103: "103,16,8,2,900,0"}


def write(
    folder: pathlib.Path, form: str = "folder", stays=STAYS, endings=ENDINGS, letter: str = "a"
) -> pathlib.Path:
    """Writes a set in one of its four forms, with its outcomes."""
    folder.mkdir(exist_ok=True)
    lines = "".join(f"{line}\n" for line in endings.values())
    (folder / f"Outcomes-{letter}.txt").write_text(OUTCOMES + lines)
    named = {f"set-{letter}/{stay}.txt": HEADER + rows for stay, rows in stays.items()}
    if form == "folder":
        (folder / f"set-{letter}").mkdir()
        for name, text in named.items():
            (folder / name).write_text(text)
    elif form == "tar.gz":
        with tarfile.open(folder / f"set-{letter}.tar.gz", "w:gz") as archive:
            for name, text in named.items():
                add(archive, name, text.encode())
    elif form == "zip":
        with zipfile.ZipFile(folder / f"set-{letter}.zip", "w", zipfile.ZIP_DEFLATED) as archive:
            for name, text in named.items():
                archive.writestr(name, text)
    else:
        rows = [f"{stay},{row}\n" for stay, text in stays.items() for row in text.splitlines()]
        with gzip.open(folder / f"set-{letter}.csv.gz", "wt") as file:
            file.write("RecordID," + HEADER + "".join(rows))
    return folder


def add(archive: tarfile.TarFile, name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.type = len(content), kind
    archive.addfile(member, io.BytesIO(content))


@pytest.fixture(scope="session")
def set_a(data_root):
    return physionet2012.read(data_root / "physionet_2012")


@pytest.fixture(scope="session")
def twenty(data_root):
    """The rows and outcomes of 20 real stays, by RecordID."""
    folder = data_root / "physionet_2012"
    rows = pl.read_csv(folder / "set-a.csv.gz", infer_schema=False, n_rows=12_000)
    stays = {
        stay: "".join(f"{','.join(row)}\n" for row in part.drop("RecordID").rows())
        for (stay,), part in rows.group_by("RecordID", maintain_order=True)
    }
    stays = dict(list(stays.items())[:20])
    outcomes = (folder / "Outcomes-a.txt").read_text().splitlines()
    return stays, {stay: line for line in outcomes if (stay := line.split(",")[0]) in stays}


def test_golden_counts_of_set_a(set_a, data_root):
    assert set_a.visits.height == set_a.patients.height == set_a.stays.height == 4000
    assert set_a.visits.filter(disposition="died").height == 554
    counted = set_a.measurements.group_by("variable").len().collect(engine="streaming")
    assert counted.height == 37
    # Every row of the file is a measurement, one of five descriptors or a weight of -1.
    descriptors = len(survey.DESCRIPTORS) * 4000
    unknown = set_a.oddities["values of -1, unknown, left out"]
    assert counted["len"].sum() + descriptors + unknown == 1_757_980
    assert set_a.given_split.is_empty() and not set_a.dated


def test_every_stay_of_set_a_can_take_part_in_mortality(set_a):
    adults = tasks.build(set_a, "mortality")
    assert {reason: n for reason, n in adults.excluded.items() if n} == {"under 18": 6}
    # Of the challenge's own patients six are younger.
    cohort = tasks.build(set_a, "mortality", changes={"exclude": ("no_stay", "short_stay", "gone")})
    assert cohort.samples.height == 4000
    assert adults.samples["label.mortality"].sum() == 554
    assert cohort.samples["label.mortality"].sum() == 554
    assert (cohort.samples["prediction_time"] == physionet2012.START.replace(day=3)).all()


def test_no_score_or_outcome_is_among_the_inputs(set_a):
    names = set(set_a.attributes["name"])
    assert names == {"age", "sex", "intensive care unit", "height in cm", "weight in kg"}
    assert (set_a.attributes["time"] == physionet2012.START).all()
    assert set_a.codes.is_empty()
    variables = set_a.measurements.select(pl.col("variable").unique()).collect().to_series()
    assert set(variables) == {"P12:" + name for name in survey.PARAMETERS}


@pytest.mark.parametrize("form", ["tar.gz", "zip", "csv.gz"])
def test_every_form_gives_the_same_records(twenty, tmp_path, form):
    first = physionet2012.read(write(tmp_path / "folder", "folder", *twenty))
    other = physionet2012.read(write(tmp_path / "other", form, *twenty))
    assert first.visits.height == 20
    assert sources.fingerprint(other) == sources.fingerprint(first)
    assert other.oddities == first.oddities
    order = ["visit_id", "time", "variable", "value"]
    measured = [records.measurements.collect().sort(order) for records in (first, other)]
    assert measured[0].height > 5_000 and measured[0].equals(measured[1])


@pytest.mark.parametrize("ending", ["103,16,8,9,9,0", "103,16,8,2,1e9,0", "103,16,8,-1,2,0"])
def test_a_death_that_cannot_be_after_the_hospital_is_none(tmp_path, ending):
    records = physionet2012.read(write(tmp_path, endings=ENDINGS | {103: ending}))
    assert records.patients["death_time"][2] is None


@pytest.mark.parametrize("form", ["folder", "csv.gz"])
def test_stays_read_as_described(tmp_path, form):
    records = physionet2012.read(write(tmp_path, form))
    day = {n: physionet2012.START.replace(day=n) for n in (1, 2, 3)}
    ends = [str(time) for time in records.visits["end"]]
    assert ends == ["2000-01-06 00:00:00", "None", "2000-01-03 00:01:00"]
    assert records.visits["disposition"].to_list() == ["died", "home", "home"]
    assert records.visits["age"].to_list() == [54, None, 90]
    assert records.patients["sex"].to_list() == ["F", None, "M"]
    # 103 went home and died 900 days after the start.
    late = physionet2012.START + datetime.timedelta(days=901, seconds=-1)
    assert records.patients["death_time"].to_list() == [records.visits["end"][0], None, late]
    assert records.stays["unit"].to_list() == ["surgical", None, "coronary care"]
    assert (records.stays["end"] == day[3]).all()
    first = records.attributes.filter(visit_id=101)
    assert dict(first.drop_nulls("text").select("name", "text").rows()) == {
        "sex": "female",
        "intensive care unit": "surgical",
    }
    assert dict(first.drop_nulls("number").select("name", "number").rows()) == {
        "age": 54,
        "height in cm": 170.2,
        "weight in kg": 80,
    }
    measured = records.measurements.select("visit_id", "time", "variable", "value").collect()
    assert sorted(measured.rows()) == [
        (101, day[1], "P12:Weight", 80.0),
        (101, day[1].replace(minute=7), "P12:HR", 73.0),
        (101, day[2].replace(hour=1, minute=10), "P12:HR", 75.5),
        (101, day[3], "P12:Weight", 81.0),
        (102, day[1].replace(hour=1), "P12:Temp", -17.8),
    ]
    assert records.oddities == {
        "values of -1, unknown, left out": 2,
        "lengths of stay unknown, end of the visit unknown": 1,
        "patients of unknown sex": 1,
        "patients of unknown age": 1,
    }


def test_part_of_the_measurements_can_be_asked_for(tmp_path):
    lazy = physionet2012.read(write(tmp_path)).measurements
    heart = lazy.filter(pl.col("variable") == "P12:HR").select("value").collect(engine="streaming")
    assert sorted(heart["value"]) == [73.0, 75.5]
    assert lazy.head(2).collect().height == 2


def test_two_sets_give_the_split_of_the_challenge(tmp_path):
    write(tmp_path, "folder")
    other = {stay + 100: text.replace("RecordID,1", "RecordID,2") for stay, text in STAYS.items()}
    endings = {stay + 100: "2" + line[1:] for stay, line in ENDINGS.items()}
    write(tmp_path, "zip", other, endings, letter="b")
    records = physionet2012.read(tmp_path)
    assert dict(records.given_split.rows()) == {
        **dict.fromkeys((101, 102, 103), "train"),
        **dict.fromkeys((201, 202, 203), "test"),
    }
    assert records.measurements.collect().height == 10


def test_one_set_under_two_letters_is_refused(tmp_path):
    write(tmp_path, "folder")
    write(tmp_path, "zip", letter="c")
    with pytest.raises(errors.RecordsError, match="3 RecordID.* two of the Outcomes files"):
        physionet2012.read(tmp_path)


ODD = {
    "rows of an unknown parameter, left out": {101: "01:00,Glasgow,3\n"},
    "rows without a parameter or a value, left out": {101: "01:00,HR,\n"},
    "rows after the first 48 h, left out": {101: "48:01,HR,70\n"},
    "stays without an outcome, left out": {104: "00:00,RecordID,104\n01:00,HR,70\n"},
}


@pytest.mark.parametrize("rule", ODD)
def test_oddity_is_left_out_and_counted(tmp_path, rule):
    (stay, rows) = next(iter(ODD[rule].items()))
    plain = physionet2012.read(write(tmp_path / "plain"))
    odd = physionet2012.read(
        write(tmp_path / "odd", stays=STAYS | {stay: STAYS.get(stay, "") + rows})
    )
    rows = {"rows of stays without an outcome, left out": 2} if rule.startswith("stays") else {}
    assert dict(odd.oddities) == dict(plain.oddities) | {rule: 1} | rows
    assert sources.fingerprint(odd) == sources.fingerprint(plain)
    assert odd.measurements.collect().height == plain.measurements.collect().height


def test_outcome_without_a_stay_is_counted(tmp_path):
    records = physionet2012.read(write(tmp_path, endings=ENDINGS | {9: "9,1,1,3,-1,0"}))
    assert records.oddities["outcomes without a stay, left out"] == 1
    assert records.visits.height == 3


def test_length_of_stay_under_the_challenges_shortest_is_set_to_it(tmp_path):
    records = physionet2012.read(write(tmp_path, endings=ENDINGS | {103: "103,1,1,1,-1,0"}))
    assert records.oddities["lengths of stay under 2 days, taken as 2 days"] == 1
    assert records.visits["end"][2] > records.stays["end"][2]


def test_a_survivors_death_within_the_stay_is_left_out_and_counted(tmp_path):
    said = "survivors' days until death within the stay, or impossible, left out"
    for days, died, odd in ((2, 0, 1), (40, 0, 0), (2, 1, 0), (-1, 0, 0), (90_000, 0, 1)):
        ending = {103: f"103,1,1,3,{days},{died}"}
        records = physionet2012.read(write(tmp_path / f"{days} {died}", endings=ENDINGS | ending))
        assert records.oddities.get(said, 0) == odd
        lived = records.patients.filter(subject_id=103)["death_time"].is_not_null().any()
        assert lived == (days == 40 or died == 1)


BAD_ROWS = {
    "7:5x,HR,70": "column 'Time': a text of 4 character.* is not hours and minutes",
    "12:61,HR,70": "column 'Time': '12:61' is not hours and minutes",
    "12:00,HR,high": "column 'Value': a text of 4 character.* is not a number",
}


@pytest.mark.parametrize("form", ["folder", "tar.gz", "zip", "csv.gz"])
@pytest.mark.parametrize("row", BAD_ROWS)
def test_bad_row_is_explained_without_naming_the_patient(tmp_path, form, row):
    stays = STAYS | {102: STAYS[102] + row + "\n"}
    where = "row 17 " if form == "csv.gz" else "file 2, row 8 "
    with pytest.raises(errors.RecordsError, match=f"set-a.*: {where}.*{BAD_ROWS[row]}") as raised:
        physionet2012.read(write(tmp_path, form, stays))
    assert "102" not in str(raised.value)


@pytest.mark.parametrize(
    "text, said",
    [
        (HEADER + STAYS[102] + "12:3", "file 2, row 8 .*has 1 field.*cut short"),
        (HEADER + STAYS[102] + "12:30,HR,70,71\n", "file 2, row 8 .*has 4 field"),
        ("Time;Parameter;Value\n", "file 2 does not begin with the header"),
        ("", "file 2 does not begin with the header"),
        (HEADER + STAYS[101], "1 stay.* hold a row 'RecordID' that is not"),
    ],
)
def test_bad_file_of_a_stay_is_explained(tmp_path, text, said):
    (write(tmp_path) / "set-a" / "102.txt").write_text(text)
    with pytest.raises(errors.RecordsError, match=said):
        physionet2012.read(tmp_path)


def test_text_in_another_encoding_is_explained(tmp_path):
    (write(tmp_path) / "set-a" / "102.txt").write_bytes(HEADER.encode() + b"00:00,\xff,1\n")
    with pytest.raises(errors.RecordsError, match="file 2 is not UTF-8"):
        physionet2012.read(tmp_path)


BAD_OUTCOMES = {
    OUTCOMES + "101,6,1,5,5,2\n": "row 1, column 'in-hospital_death' is 2, expected 0",
    OUTCOMES + "101,6,1,5,5,\n": "row 1 has no value in column 'in-hospital_death'",
    OUTCOMES + "101,6,1,5,5,1\n101,6,1,5,5,0\n": "repeat a 'recordid'.*first in row 2",
    OUTCOMES + "7,6,1,5,5,1\n": "none of the 3 stays has an outcome",
    OUTCOMES.replace("In-hospital_death", "Died"): "column 'in-hospital_death' is missing",
}


@pytest.mark.parametrize("text", BAD_OUTCOMES)
def test_bad_outcomes_are_explained(tmp_path, text):
    outcomes = write(tmp_path) / "Outcomes-a.txt"
    outcomes.write_text(text)
    with pytest.raises(errors.RecordsError, match=BAD_OUTCOMES[text]):
        physionet2012.read(tmp_path)


def test_stays_without_outcomes_are_scored_and_not_trained_on(tmp_path):
    (write(tmp_path) / "Outcomes-a.txt").unlink()
    records = physionet2012.read(tmp_path)
    assert records.visits["disposition"].null_count() == records.visits.height == 3
    cohort = tasks.build(records, "mortality", split="none")
    assert set(cohort.samples["split"]) == {"test"} and not cohort.samples["labelled"].any()
    with pytest.raises(errors.CohortError, match="no visit of physionet2012 has a label"):
        tasks.build(records, "mortality")


def test_outcomes_of_one_set_alone_are_refused(tmp_path):
    folder = write(tmp_path)
    (folder / "set-b").mkdir()
    (folder / "set-b" / "201.txt").write_text(HEADER + "00:00,RecordID,201\n")
    with pytest.raises(errors.RecordsError, match="'Outcomes-b.txt' is not, while another"):
        physionet2012.read(tmp_path)


def test_folder_without_a_set_says_what_was_expected(tmp_path):
    with pytest.raises(errors.RecordsError, match="Expected the folder 'set-a'"):
        physionet2012.read(tmp_path)
    (tmp_path / "set-b").mkdir()
    (tmp_path / "Outcomes-b.txt").write_text(OUTCOMES)
    with pytest.raises(errors.RecordsError, match="set-b: holds no file of a stay"):
        physionet2012.read(tmp_path)


@pytest.mark.parametrize("form", ["tar.gz", "zip", "csv.gz"])
@pytest.mark.parametrize("kept", [0.0, 0.3, 0.9, 0.99])
def test_cut_archive_is_explained(tmp_path, form, kept):
    stays = {stay: "".join(f"00:{n % 60:02},HR,{n}\n" for n in range(200)) for stay in STAYS}
    path = write(tmp_path, form, stays) / f"set-a.{form}"
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * kept)])
    with pytest.raises(errors.RecordsError, match=f"set-a.{form}: .*(cut short|damaged|empty)"):
        physionet2012.read(tmp_path)


EVIL_PATHS = ("/set-a/104.txt", "../104.txt", "set-a/../../104.txt", "C:\\104.txt", "..\\104.txt")


@pytest.mark.parametrize("name", EVIL_PATHS)
@pytest.mark.parametrize("form", ["tar.gz", "zip"])
def test_member_that_leaves_its_folder_is_refused(tmp_path, form, name):
    path = write(tmp_path, form) / f"set-a.{form}"
    if form == "zip":
        with zipfile.ZipFile(path, "a") as archive:
            archive.writestr(name, HEADER)
    else:
        with tarfile.open(path, "w:gz") as archive:
            for stay, rows in STAYS.items():
                add(archive, f"set-a/{stay}.txt", (HEADER + rows).encode())
            add(archive, name, HEADER.encode())
    with pytest.raises(errors.RecordsError, match="member 4 has a path that leads out"):
        physionet2012.read(tmp_path)


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_link_in_an_archive_is_refused(tmp_path, kind):
    with tarfile.open(write(tmp_path, "tar.gz") / "set-a.tar.gz", "w:gz") as archive:
        add(archive, "set-a/101.txt", b"", kind)
    with pytest.raises(errors.RecordsError, match="member 1 is a link"):
        physionet2012.read(tmp_path)
    (tmp_path / "set-a.tar.gz").unlink()
    with zipfile.ZipFile(tmp_path / "set-a.zip", "w") as archive:
        link = zipfile.ZipInfo("set-a/101.txt")
        link.external_attr = (stat.S_IFLNK | 0o777) << 16
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(errors.RecordsError, match="member 1 is a link"):
        physionet2012.read(tmp_path)


@pytest.mark.parametrize("form", ["tar.gz", "zip"])
def test_bomb_is_refused(tmp_path, monkeypatch, form):
    write(tmp_path, form, {stay: "0" * 200_000 for stay in STAYS})
    monkeypatch.setattr(archives, "LARGEST_FILE", 100_000)
    with pytest.raises(errors.RecordsError, match="member 1 is larger than"):
        physionet2012.read(tmp_path)
    monkeypatch.setattr(archives, "LARGEST_FILE", 1_000_000)
    monkeypatch.setattr(archives, "LARGEST_WHOLE", 300_000)
    with pytest.raises(errors.RecordsError, match="unpacks to more than"):
        list(archives.files(tmp_path / f"set-a.{form}", r".*"))
    monkeypatch.setattr(archives, "MOST_FILES", 2)
    monkeypatch.setattr(archives, "LARGEST_WHOLE", 1_000_000)
    with pytest.raises(errors.RecordsError, match="holds more than 2 files"):
        list(archives.files(tmp_path / f"set-a.{form}", r".*"))


def test_file_standing_twice_in_an_archive_is_refused(tmp_path):
    with zipfile.ZipFile(write(tmp_path, "zip") / "set-a.zip", "a") as archive:
        archive.writestr("other/101.txt", HEADER + STAYS[101])
    with pytest.raises(errors.RecordsError, match="file 4 has the name of one before it"):
        physionet2012.read(tmp_path)


def test_an_archive_that_changes_while_it_is_read_is_refused(tmp_path):
    path = write(tmp_path, "zip") / "set-a.zip"
    members = archives.files(path, r"\d+\.txt")
    next(members)
    path.write_bytes(path.read_bytes() + b"more")
    with pytest.raises(errors.RecordsError, match="set-a.zip: the file changed while it was read"):
        list(members)


def test_files_of_other_things_are_passed_over(tmp_path):
    with zipfile.ZipFile(write(tmp_path, "zip") / "set-a.zip", "a") as archive:
        archive.writestr("__MACOSX/set-a/._101.txt", b"\x00\x05")
        archive.writestr("set-a/README", "not a stay")
    assert physionet2012.read(tmp_path).visits.height == 3


@hypothesis.given(st.binary(max_size=400), st.sampled_from(["tar.gz", "zip", "csv.gz"]))
@hypothesis.example(b"\x03\x08\x16/33COah}\x82\x90\x91\xa1\xad\xb4\xb9\xe0\xe3\xe9\xe9\xfc", "zip")
@hypothesis.example(b"\x00\x03\x08/\x1633COah}\x82\x90\x91\xa1\xad\xb4\xe0\xe3\xe9\xe9\xfc", "zip")
@hypothesis.settings(max_examples=60)
def test_damage_at_random_ends_in_success_or_an_explained_error(tmp_path_factory, noise, form):
    folder = write(tmp_path_factory.mktemp("set"), form)
    path = folder / f"set-a.{form}"
    content = bytearray(path.read_bytes())
    at = sum(noise) % len(content)
    content[at : at + len(noise)] = noise
    path.write_bytes(bytes(content))
    try:
        physionet2012.read(folder).measurements.collect()
    except errors.RecordsError as error:
        assert "Traceback" not in str(error)


def test_minus_one_is_no_value_in_any_parameter_or_outcome(tmp_path):
    stays = {
        stay: text + "01:00,NIDiasABP,-1\n02:00,DiasABP,-1\n03:00,HR,-1\n"
        for stay, text in STAYS.items()
    }
    endings = ENDINGS | {102: "102,6,1,-1,-1,-1"}
    records = physionet2012.read(write(tmp_path, "folder", stays, endings))
    plain = physionet2012.read(write(tmp_path / "plain"))
    order = ["visit_id", "time", "variable"]
    measured = [found.measurements.collect().sort(order) for found in (records, plain)]
    assert measured[0].equals(measured[1])
    counted = records.oddities["values of -1, unknown, left out"]
    assert counted == plain.oddities["values of -1, unknown, left out"] + 9
    assert records.oddities["outcomes of -1, unknown"] == 1
    assert records.visits.filter(visit_id=102)["disposition"].to_list() == [None]
    copied = meds.read(writer.write(records, tmp_path / "meds"))
    assert copied.measurements.filter(pl.col("value") == -1).collect().is_empty()


def test_a_stay_of_seven_days_is_not_long_and_one_of_unknown_length_has_no_label(tmp_path):
    endings = {101: "101,6,1,7,-1,0", 102: "102,-1,-1,-1,-1,0", 103: "103,16,8,8,-1,0"}
    records = physionet2012.read(write(tmp_path, endings=endings))
    samples = tasks.build(records, "long_stay", split="none").samples
    assert samples.select("visit_id", "label.long_stay").rows() == [(101, False), (103, True)]
