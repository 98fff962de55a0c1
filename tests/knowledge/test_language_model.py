"""The language model's answers are used where they are valid, and counted where they are not."""

import json
import stat
import threading

import pytest
import scripted_server
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import completion, diseases, send, serving

from ehr_jax import errors
from ehr_jax.knowledge import chat, language_model, sentences

NOTE = "Known asthma. Treated for sepsis."


def server(script, **changes) -> chat.Server:
    quick = {"seconds": 5.0, "tries": 2, "wait": 0.01}
    return chat.Server(script.url, "tiny", **(quick | changes))


def asked(answer, pieces=(NOTE,), cache=None, **changes):
    """Returns what the model gives for pieces, the counts, and the requests the server saw."""
    with serving(answer) as script:
        model = language_model.LanguageModel(server(script, **changes), cache, workers=1)
        found = model.diseases(pieces)
    parts = vars(model.answers)
    assert parts["pieces"] == len(pieces) == sum(parts.values()) - parts["pieces"]
    return found, {name for name, value in parts.items() if value and name != "pieces"}, script


def test_a_good_answer_is_taken():
    found, counts, script = asked(diseases("asthma", " sepsis ", "asthma", ""))
    assert found == [["asthma", "sepsis"]] and counts == {"answered"}
    (request,) = script.requests
    assert request["path"] == "/v1/chat/completions" and request["model"] == "tiny"
    assert (request["temperature"], request["seed"], request["max_tokens"]) == (0, 0, 1024)
    assert request["response_format"]["json_schema"]["schema"] == language_model.SCHEMA
    assert request["messages"][-1]["content"].endswith(NOTE)


@pytest.mark.parametrize(
    "content, kind",
    [
        ("The patient has asthma.", "prose"),
        ("", "prose"),
        ('{"diseases": ["asthma"', "invalid_json"),
        ("[" * 100_000, "invalid_json"),
        ('{"entities": ["asthma"]}', "other_schema"),
        ('{"diseases": "asthma"}', "other_schema"),
        ('{"diseases": [1]}', "other_schema"),
        ('{"diseases": [], "note": "x"}', "other_schema"),
        ('["asthma"]', "other_schema"),
        ("null", "other_schema"),
        (json.dumps({"diseases": ["a"] * 501}), "too_large"),
        (json.dumps({"diseases": ["a" * 201]}), "too_large"),
    ],
)
def test_an_answer_of_another_form_is_asked_for_once_more_and_then_left(content, kind):
    found, counts, script = asked(completion(content))
    assert found == [None] and counts == {kind}
    assert len(script.requests) == 2
    assert script.requests[1]["messages"][-1]["content"] == language_model.REPAIR


def test_a_repaired_answer_is_taken():
    found, counts, _ = asked([completion("I see asthma"), diseases("asthma")])
    assert found == [["asthma"]] and counts == {"repaired"}


@pytest.mark.parametrize(
    "body, kind",
    [
        (b"not json", "invalid_json"),
        (b"{}", "other_schema"),
        (b'{"choices": []}', "other_schema"),
        (b'{"choices": [{"message": {"content": null}}]}', "other_schema"),
        (b"[" * 1_000_000, "invalid_json"),
    ],
)
def test_a_body_that_is_no_completion_is_left(body, kind):
    found, counts, _ = asked(body)
    assert found == [None] and counts == {kind}


@pytest.mark.parametrize("claims", [True, False])
def test_an_answer_over_ten_megabytes_is_cut_and_refused(claims):
    sent = []

    def flood(handler, request, number):
        handler.send_response(200)
        if claims:
            handler.send_header("Content-Length", "2000000000")
        handler.end_headers()
        block = b" " * (1 << 20)
        for _ in range(200):
            handler.wfile.write(block)
            sent.append(len(block))

    found, counts, _ = asked(flood)
    assert found == [None] and counts == {"too_large"}
    assert sum(sent) < 100_000_000


def test_a_late_answer_is_slow_and_tried_again():
    over = threading.Event()

    def late(handler, request, number):
        over.wait(10)

    found, counts, script = asked(late, seconds=0.2)
    over.set()
    assert found == [None] and counts == {"slow"} and len(script.requests) == 2


@pytest.mark.parametrize("headers", [True, False])
def test_an_answer_that_drips_is_slow(headers):
    over = threading.Event()

    def drip(handler, request, number):
        if headers:
            handler.send_response(200)
            handler.send_header("Content-Length", "100000")
            handler.end_headers()
        else:
            handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
        while not over.wait(0.05):
            handler.wfile.write(b"x")

    found, counts, _ = asked(drip, seconds=0.4, tries=1)
    over.set()
    assert found == [None] and counts == {"slow"}


def test_a_server_that_dies_midway_is_down():
    def die(handler, request, number):
        send(handler, b'{"choices": [', length=5000)
        handler.connection.close()

    found, counts, script = asked(die)
    assert found == [None] and counts == {"down"} and len(script.requests) == 2


def test_a_server_that_recovers_is_answered_at_the_next_try():
    def recover(handler, request, number):
        send(handler, diseases("asthma"), status=200 if number else 503)

    found, counts, _ = asked(recover)
    assert found == [["asthma"]] and counts == {"answered"}


def test_a_server_that_is_not_there_is_given_up(capsys):
    with serving(diseases()) as script:
        pass
    model = language_model.LanguageModel(server(script, tries=1), workers=1)
    assert model.diseases([NOTE] * 6) == [None] * 6
    assert model.answers == language_model.Answers(pieces=6, down=3, not_asked=3)
    assert model.answers.fallbacks == 6
    assert "asked no more" in capsys.readouterr().out


def test_a_server_that_refuses_the_schema_is_asked_without():
    def old(handler, request, number):
        send(handler, diseases("asthma"), status=400 if "response_format" in request else 200)

    found, counts, script = asked(old)
    assert found == [["asthma"]] and counts == {"answered"} and len(script.requests) == 2


def test_a_piece_that_the_server_refuses_is_left():
    found, counts, _ = asked(lambda handler, request, number: send(handler, b"too long", 413))
    assert found == [None] and counts == {"refused"}


@pytest.mark.parametrize(
    "status, says", [(401, "EHR_JAX_API_KEY"), (403, "another key"), (404, "named 'tiny'")]
)
def test_a_wrong_key_address_or_model_is_told(status, says):
    with pytest.raises(errors.ConfigError, match=says) as caught:
        asked(lambda handler, request, number: send(handler, b"asthma", status))
    assert "asthma" not in str(caught.value)


def test_a_redirect_is_not_followed():
    def redirect(handler, request, number):
        handler.send_response(307)
        handler.send_header("Location", script_url[0] + "/elsewhere/chat/completions")
        handler.send_header("Content-Length", "0")
        handler.end_headers()

    script_url = []
    with serving(redirect) as script:
        script_url.append(script.url)
        model = language_model.LanguageModel(server(script), workers=1)
        assert model.diseases([NOTE]) == [None]
    assert model.answers.refused == 1
    assert {request["path"] for request in script.requests} == {"/v1/chat/completions"}


def test_proxies_are_not_used(monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    assert asked(diseases("asthma"))[1] == {"answered"}


def test_the_key_is_sent_and_never_shown(monkeypatch, capsys):
    monkeypatch.setenv(chat.KEY, "canary-key")
    _, _, script = asked(diseases("asthma"))
    assert script.headers[0]["Authorization"] == "Bearer canary-key"
    monkeypatch.setenv(chat.KEY, "canary\nkey")
    with pytest.raises(errors.ConfigError) as caught:
        asked(diseases("asthma"))
    assert "canary" not in str(caught.value) + "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "url",
    [
        "http://8.8.8.8/v1",
        "https://8.8.8.8",
        "http://169.254.169.254/v1",
        "http://0.0.0.0:1/v1",
        "http://[2001:4860:4860::8888]/v1",
        "http://[::ffff:8.8.8.8]/v1",
        "http://172.32.0.1/",
    ],
)
def test_servers_outside_the_private_network_are_refused(url):
    with pytest.raises(errors.ConfigError, match="notes are not sent there"):
        chat.check(chat.Server(url, "tiny"))


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/v1", "http://localhost", "http://10.1.2.3:8000/v1", "https://192.168.0.9"],
)
def test_servers_of_the_private_network_are_allowed(url, capsys):
    chat.check(chat.Server(url, "tiny"))
    assert not capsys.readouterr().out


def test_a_remote_server_is_allowed_on_demand_encrypted_and_with_the_terms(capsys):
    chat.check(chat.Server("https://8.8.8.8/v1", "tiny", allow_remote=True))
    assert "PhysioNet" in capsys.readouterr().out
    with pytest.raises(errors.ConfigError, match="https"):
        chat.check(chat.Server("http://8.8.8.8/v1", "tiny", allow_remote=True))


def test_nothing_is_sent_where_a_name_came_to_lead_elsewhere(monkeypatch):
    with serving(diseases("asthma")) as script:
        model = language_model.LanguageModel(server(script), workers=1)
        monkeypatch.setattr(chat, "_is_private", lambda address: False)
        with pytest.raises(errors.ConfigError, match="nothing was sent"):
            model.diseases([NOTE])
    assert not script.requests


@pytest.mark.parametrize(
    "changes, says",
    [
        ({"url": "localhost:8000"}, "http://localhost:8000/v1"),
        ({"url": "file:///etc"}, "not one of http"),
        ({"url": "http://a:canary@localhost/v1"}, "name or password"),
        ({"url": "http://localhost:99999/v1"}, "not one of http"),
        ({"model": ""}, "no model"),
        ({"seconds": 0}, "seconds is 0"),
        ({"tries": 0}, "tries is 0"),
    ],
)
def test_an_impossible_server_is_told(changes, says):
    with pytest.raises(errors.ConfigError, match=says) as caught:
        chat.check(chat.Server(**({"url": "http://localhost/v1", "model": "tiny"} | changes)))
    assert "canary" not in str(caught.value)


def test_an_unknown_host_is_told(monkeypatch):
    def unknown(*_, **__):
        raise OSError("no such host")

    monkeypatch.setattr(chat.socket, "getaddrinfo", unknown)
    with pytest.raises(errors.ConfigError, match="'somewhere' is not known"):
        chat.check(chat.Server("http://somewhere/v1", "tiny"))


def test_kept_answers_are_not_asked_for_again(tmp_path):
    cache = tmp_path / "answers"
    first, _, _ = asked(diseases("asthma"), cache=cache)
    again, counts, script = asked(diseases("stroke"), cache=cache)
    assert first == again == [["asthma"]] and counts == {"cached"} and not script.requests
    other, counts, _ = asked(diseases("stroke"), cache=cache, tokens=99)
    assert other == [["stroke"]] and counts == {"answered"}
    files = [path for path in cache.rglob("*") if path.is_file()]
    folders = [cache, *(path for path in cache.rglob("*") if path.is_dir())]
    assert {stat.S_IMODE(path.stat().st_mode) for path in folders} == {0o700}
    assert sum(path.suffix == ".json" for path in files) == 2
    assert not any("sepsis" in path.read_text() for path in files)


def test_what_failed_is_not_kept_and_what_is_damaged_is_asked_again(tmp_path):
    assert asked(completion("prose"), cache=tmp_path)[1] == {"prose"}
    assert asked(diseases("asthma"), cache=tmp_path)[1] == {"answered"}
    (kept,) = tmp_path.rglob("*.json")
    kept.write_bytes(b"\xff{")
    assert asked(diseases("asthma"), cache=tmp_path)[1] == {"answered"}
    assert asked(diseases("asthma"), cache=tmp_path)[1] == {"cached"}


def test_a_cache_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(errors.KnowledgeError, match="cannot be kept"):
        asked(diseases(), cache=tmp_path / "file" / "answers")


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(JSON | st.fixed_dictionaries({"diseases": JSON | st.lists(st.text())}))
def test_only_the_form_that_was_asked_for_is_taken(answer):
    names = answer.get("diseases") if isinstance(answer, dict) and len(answer) == 1 else None
    good = isinstance(names, list) and all(isinstance(name, str) for name in names)
    try:
        found = language_model.parse(json.dumps(answer))
    except chat.Failure as failure:
        assert not good and failure.kind == chat.OTHER_SCHEMA
        return
    assert good and found == list(dict.fromkeys(n.strip() for n in names if n.strip()))


@given(st.text())
def test_any_text_is_parsed_or_a_failure(content):
    try:
        found = language_model.parse(content)
    except chat.Failure:
        return
    assert all(isinstance(name, str) for name in found)


@pytest.mark.parametrize(
    "content",
    [
        '```json\n{"diseases": ["asthma"]}\n```',
        '```\n{"diseases": ["asthma"]}```',
        '<think>{"diseases": []} or so</think>\n{"diseases": ["asthma"]}',
    ],
)
def test_fences_and_thoughts_are_taken_off(content):
    assert language_model.parse(content) == ["asthma"]


@given(st.lists(st.sampled_from(["Asthma now.", "a b c", "\n\n", "PMH: x"])), st.integers(1, 9))
def test_pieces_are_the_note_end_to_end_and_cut_no_sentence(parts, words):
    note = sentences.read(" ".join(parts))
    pieces = language_model.pieces(note, words)
    assert "".join(note.text[a:b] for a, b in pieces) == (note.text if note.sentences else "")
    for start, end in pieces:
        held = [s for s in note.sentences if start <= s.start and s.end <= end]
        sizes = [len(note.text[s.start : s.end].split()) for s in held]
        assert sum(sizes) <= words or len(sizes) == 1
    assert sum(1 for s in note.sentences for a, b in pieces if a <= s.start and s.end <= b) == len(
        note.sentences
    )


def test_the_scripted_server_is_asked_in_parallel_and_answers_stay_in_order():
    def echo(handler, request, number):
        word = request["messages"][-1]["content"].split()[-1]
        send(handler, diseases(word))

    with serving(echo) as script:
        model = language_model.LanguageModel(server(script), workers=4)
        words = [f"word{number}" for number in range(20)]
        assert model.diseases(words) == [[word] for word in words]
    assert isinstance(script, scripted_server.Script) and len(script.requests) == 20
