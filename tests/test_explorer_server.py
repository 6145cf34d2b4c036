"""The explorer's server answers in words, whatever it is sent; its page is whole, as a file and in a notebook."""

import http.client
import json
import re
import socket
import subprocess
import sys
import threading
import warnings

import numpy as np
import pytest
from command_line import run
from explorer_data import TEXT, TEXTS, data_of, ids_of, reading_of, unpacked
from test_twins import avoided

from minigpt import load_model, load_tokenizer
from minigpt.explorer import Server, Subject, explore, write_page
from minigpt.explorer.heads import all_heads
from minigpt.explorer.html import FOLDER, SCRIPTS, content_policy, harmless, live_page, script, style, whole_page, words
from minigpt.explorer.questions import QUESTIONS, answer


@pytest.fixture(scope="module")
def subjects():
    return {name: Subject(load_model(name), load_tokenizer(name), name) for name in TEXTS}


@pytest.fixture(params=TEXTS)
def subject(request, subjects):
    return subjects[request.param]


# --- the server ------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def server(subjects):
    with Server(subjects["tiny"]) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield server
        server.shutdown()


def ask(server, method="POST", path="/ask/read", body=None, **headers):
    """(status, headers, body) of a request; every header but Host and Content-Length has to be given."""
    connection = http.client.HTTPConnection("127.0.0.1", server.server_port, timeout=20)
    headers = {name.replace("_", "-"): value for name, value in headers.items()}
    connection.request(method, path, body, headers)
    found = connection.getresponse()
    data = found.read()
    connection.close()
    return found.status, found.headers, data


def post(server, fields, path="/ask/read", **headers):
    body = fields if isinstance(fields, bytes) else json.dumps(fields).encode()
    status, _, data = ask(server, path=path, body=body, **{"Content_Type": "application/json", **headers})
    return status, json.loads(data)


def raw(server, data: bytes) -> bytes:
    """What comes back for these very bytes."""
    with socket.create_connection(("127.0.0.1", server.server_port), timeout=20) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


HOSTILE = {
    "markup": (200, lambda s: post(s, {"text": "<script>alert(1)</script><img src=x onerror=alert(1)>"})),
    "control characters": (200, lambda s: post(s, {"text": "\0\x01\x1b[31m\u202e\u2028\ufeff"})),
    "half an emoji": (400, lambda s: post(s, b'{"text": "\\ud83d"}')),
    "one megabyte": (413, lambda s: post(s, {"text": "x" * 1_000_000})),
    "a long text": (400, lambda s: post(s, {"text": "word " * 20_000})),
    "broken JSON": (400, lambda s: post(s, b'{"text": "a')),
    "nested JSON": (400, lambda s: post(s, b"[" * 100_000)),
    "no object": (400, lambda s: post(s, b'"text"')),
    "a number with 5000 digits": (400, lambda s: post(s, b'{"tokens": [' + b"9" * 5000 + b"]}")),
    "NaN": (400, lambda s: post(s, b'{"tokens": [NaN]}')),
    "not UTF-8": (400, lambda s: post(s, b'{"text": "\xff\xfe"}')),
    "empty body": (400, lambda s: post(s, b"")),
    "a form": (415, lambda s: post(s, b"text=a", Content_Type="application/x-www-form-urlencoded")),
    "another host": (403, lambda s: post(s, {"text": "a"}, Host="evil.example")),
    "a name that begins like ours": (403, lambda s: post(s, {"text": "a"}, Host="127.0.0.1.evil.example")),
    "another origin": (403, lambda s: post(s, {"text": "a"}, Origin="http://evil.example")),
    "another port's page": (403, lambda s: post(s, {"text": "a"}, Origin="http://127.0.0.1:9")),
    "a file's page": (403, lambda s: post(s, {"text": "a"}, Origin="null")),
    "DELETE": (405, lambda s: ask(s, "DELETE", "/")[::2]),
    "PUT": (405, lambda s: ask(s, "PUT", "/ask/read", b"{}")[::2]),
    "a made-up method": (405, lambda s: ask(s, "BREW", "/")[::2]),
    "a path upwards": (404, lambda s: ask(s, "GET", "/../../../../etc/passwd")[::2]),
    "an encoded path": (404, lambda s: ask(s, "GET", "/%2e%2e/%2e%2e/etc/passwd")[::2]),
    "a query": (404, lambda s: ask(s, "GET", "/?file=/etc/passwd")[::2]),
    "a whole address": (403, lambda s: ask(s, "GET", "http://evil.example/")[::2]),
    "a question by GET": (404, lambda s: ask(s, "GET", "/ask/read")[::2]),
    "an unknown question": (404, lambda s: post(s, {}, path="/ask/__class__")),
    "a long path": (414, lambda s: ask(s, "GET", "/" + "a" * 70_000)[::2]),
    "many headers": (431, lambda s: ask(s, "GET", "/", **{f"X_{i}": "a" for i in range(200)})[::2]),
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_input_is_answered_in_words(server, name):
    expected, send = HOSTILE[name]
    status, data = send(server)
    data = data if isinstance(data, dict) else json.loads(data)
    assert status == expected, data
    if status != 200:
        assert set(data) == {"error"} and len(data["error"]) > 10 and "Traceback" not in data["error"]
    status, data = post(server, {"text": "alive"})
    assert status == 200 and data["tokens"]["pieces"]


@pytest.mark.parametrize(
    "data, status",
    [
        (b"GET / HTTP/1.1\r\n\r\n", b" 403 "),  # no host
        (b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n", b" 403 "),
        (b"GET / HTTP/1.1\r\nHost: [::1\r\n\r\n", b" 403 "),
        (b"POST /ask/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n\r\n", b" 411 "),
        (
            b"POST /ask/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: -1\r\n\r\n",
            b" 411 ",
        ),
        (
            b"POST /ask/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
            b" 411 ",
        ),
        (
            b"POST /ask/read HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
            b"Content-Length: 99999999999999999999\r\n\r\n{}",
            b" 413 ",
        ),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03 a TLS hello\r\n\r\n", b'{"error":"Bad request'),
        (b"\r\n\r\n", b""),
    ],
)
def test_requests_that_are_no_requests(server, data, status):
    assert status in raw(server, data).split(b"\r\n")[0]
    assert post(server, {"text": "alive"})[0] == 200


def test_the_page_and_its_headers(server):
    status, headers, body = ask(server, "GET", "/")
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8"
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["Cache-Control"] == "no-store"
    assert (
        "default-src 'none'" in headers["Content-Security-Policy"]
        and "unsafe" not in headers["Content-Security-Policy"]
    )
    assert body.decode() == live_page(server.subject)
    status, headers, body = ask(server, "HEAD", "/")
    assert status == 200 and body == b"" and int(headers["Content-Length"]) > 10_000
    assert server.server_address[0] == "127.0.0.1"
    for name in ("localhost", f"localhost:{server.server_port}", "127.0.0.1:9000"):  # the last: a forwarded port
        assert ask(server, "GET", "/", Host=name)[0] == 200
    assert post(server, {"text": "a"}, Host="localhost:9000", Origin="http://localhost:9000")[0] == 200


def test_two_questions_at_once_are_both_answered(server):
    found = {}

    def one(text):
        found[text] = post(server, {"text": text})

    texts = [f"question number {i} of several" for i in range(6)]
    threads = [threading.Thread(target=one, args=[text]) for text in texts]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for text in texts:
        status, data = found[text]
        assert status == 200 and "".join(data["tokens"]["pieces"]) == text


def test_a_question_does_not_wait_for_ever(server, monkeypatch):
    monkeypatch.setattr("minigpt.explorer.server.PATIENCE", 0.05)
    with server.lock:
        status, data = post(server, {"text": "a"})
    assert status == 503 and "try again" in data["error"]


def test_an_error_of_torch_is_answered(server, monkeypatch):
    def full(*_, **__):
        raise RuntimeError("not enough memory")

    monkeypatch.setitem(QUESTIONS, "read", (full, ("text",)))
    status, data = post(server, {"text": "a"})
    assert status == 500 and "not enough memory" in data["error"]


# --- the page as a file ----------------------------------------------------------------------------------------------


def test_the_file_holds_everything_and_loads_nothing(subject):
    page = whole_page(subject, TEXTS[subject.name])
    data = json.loads(data_of(page))
    reading = reading_of(subject)
    assert data["inside"]["reading"] == reading
    for kind, all_of_kind in data["inside"]["heads"].items():
        alone = answer(subject, "head", {**ids_of(reading), "kind": kind, "layer": 2, "head_number": 3})
        for name, part in alone.items():
            if name != "bias":
                np.testing.assert_array_equal(unpacked(all_of_kind[name])[2, 3], unpacked(part), err_msg=name)
            elif part is not None:
                np.testing.assert_array_equal(unpacked(all_of_kind[name])[3], unpacked(part))
    assert data["inside"]["lens"] == answer(subject, "lens", ids_of(reading))
    assert len(data["inside"]["effects"]) == len(all_heads(subject.model))
    assert "connect-src 'none'" in page
    shell = page.replace(data_of(page), "")
    assert not re.search(r"(src|href)\s*=\s*[\"'](?!data:,)|@import|url\(|https?://", shell)


def test_sixty_tokens_of_tiny_are_less_than_three_megabytes(subjects, tmp_path):
    subject = subjects["tiny"]
    ids = subject.tokenizer.encode(TEXT * 4)[:60]
    file = write_page(subject.model, subject.tokenizer, subject.tokenizer.decode(ids), tmp_path / "page.html")
    assert len(json.loads(data_of(file.read_text(encoding="utf-8")))["inside"]["reading"]["tokens"]["ids"]) == 60
    assert 500_000 < file.stat().st_size < 3_000_000


def test_a_larger_model_has_no_effects_in_its_file(subjects, monkeypatch):
    monkeypatch.setattr("minigpt.explorer.effects.MOST_PARAMETERS", 1000)
    assert json.loads(data_of(whole_page(subjects["tiny"], TEXT)))["inside"]["effects"] is None


def test_markup_in_a_text_is_no_markup(subjects):
    text = "</script><script>alert(1)</script><!-- & \u2028 \u2029"
    page = whole_page(subjects["tiny"], text)
    assert page.count("<script") == 2 and "alert(1)</script>" not in page and "\u2028" not in page
    assert json.loads(data_of(page))["text"] == text
    assert json.loads(harmless({"a": "<>&\u2028"})) == {"a": "<>&\u2028"}


def test_the_policy_names_the_script_and_the_style(subjects):
    page = live_page(subjects["tiny"])
    assert f"<script>{script()}</script>" in page and f"<style>{style()}</style>" in page
    assert f'content="{content_policy()}"' in page and "{{" not in page.replace(script(), "")
    assert "</script" not in script() and sorted(f"{name}.js" for name in SCRIPTS.split()) == sorted(
        file.name for file in FOLDER.glob("*.js")
    )


# --- words -----------------------------------------------------------------------------------------------------------


def said_by_the_page() -> set[str]:
    """The names in say("..."), mixed("..."), data-say="..."; a name that is put together counts by its beginning."""
    source = script() + (FOLDER / "page.html").read_text(encoding="utf-8")
    return set(re.findall(r'"([a-z][^"\n]*?)"', source)) | set(re.findall(r'data-say="([^"]+)"', source))


def test_every_word_of_the_page_has_two_languages_and_is_used():
    chinese = re.compile(r"[\u4e00-\u9fff]")
    used = said_by_the_page()
    beginnings = tuple(name for name in used if name.endswith(" "))
    for name, (english, translation) in words().items():
        assert english and translation and not chinese.search(english.replace("中文", "")), name
        assert re.findall(r"\{\w+\}", english).sort() == re.findall(r"\{\w+\}", translation).sort()
        assert set(re.findall(r"\{\w+\}", english)) == set(re.findall(r"\{\w+\}", translation)), name
        assert name in used or name.startswith(beginnings), f"nothing says {name!r}"
    for name in re.findall(r'\b(?:say|mixed)\("([^"]+)"\s*[,)]', script()):
        assert name in words(), name


def test_the_chinese_terms_are_those_of_the_notebooks():
    text = "\n".join(translation for _, translation in words().values())
    assert not [word for word in avoided() if word in text]


# --- command and notebook --------------------------------------------------------------------------------------------


def test_the_command_writes_a_file(tmp_path, capsys):
    file = tmp_path / "page.html"
    code, out, err = run(capsys, "explore", "--text", "Return the", "--out", file)
    assert (code, out, err) == (0, f"{file}\n", "") and json.loads(data_of(file.read_text("utf-8")))[
        "text"
    ] == "Return the"
    for arguments, said in [
        (["--out", file], "--out needs --text"),
        (["--text", "a", "--out", tmp_path / "none" / "page.html"], "cannot be written"),
        (["--text", "word " * 300, "--out", file], "tokens are too many for the text: this page reads at most 256"),
        (["--port", "65536"], "a port is a whole number"),
        (["--port", "-1"], "a port is a whole number"),
        (["--source", "tinny"], "tinny"),
    ]:
        code, out, err = run(capsys, "explore", *arguments)
        assert code == 2 and said in err and not out, (arguments, err)


def test_a_port_is_a_port(subjects):
    for port in (-1, 65536, True, "8000"):
        with pytest.raises(ValueError, match="port must be an integer from 0 to 65535"):
            Server(subjects["tiny"], port)


def test_a_port_in_use_is_named(server, capsys):
    code, _, err = run(capsys, "explore", "--port", server.server_port, "--no-browser")
    assert code == 2 and f"--port {server.server_port} is in use" in err


def test_the_command_serves_until_ctrl_c(monkeypatch, capsys):
    opened = []

    def serve(server):
        opened.append(server.url)
        raise KeyboardInterrupt

    monkeypatch.setattr(Server, "serve_forever", serve)
    monkeypatch.setattr("webbrowser.open", opened.append)
    code, out, err = run(capsys, "explore", "--port", "0", "--no-browser", "--text", "Return the")
    assert code == 0 and out.startswith(f"the page is at {opened[0]}") and not err and len(opened) == 1
    code, out, _ = run(capsys, "explore", "--port", "0")
    assert code == 0 and len(opened) >= 2


def test_a_notebook_shows_a_frame_and_keeps_a_picture(subjects, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    subject = subjects["tiny-t5"]
    shown = explore(subject.model, subject.tokenizer, TEXTS["tiny-t5"], height=500)
    with warnings.catch_warnings(action="error"):  # none of a missing font, say
        bundle = shown._repr_mimebundle_()
    name = re.search(r'<iframe src="(explorer_pages/\w+\.html)" width="100%" height="500"', bundle["text/html"])[1]
    assert json.loads(data_of((tmp_path / name).read_text(encoding="utf-8")))["text"] == TEXTS["tiny-t5"]
    assert bundle["image/png"].startswith(b"\x89PNG") and len(bundle["image/png"]) < 150_000
    monkeypatch.setenv("MINIGPT_EXPLORER", "picture")
    assert set(shown._repr_mimebundle_()) == {"text/plain", "image/png"}
    with pytest.raises(ValueError, match="height must be an integer of at least 200"):
        explore(subject.model, subject.tokenizer, "a", height=10)


def test_importing_minigpt_does_not_import_the_explorer():
    code = "import sys, minigpt; print([name for name in sys.modules if 'explorer' in name or name == 'http.server'])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr
