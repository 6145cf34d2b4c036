"""The explorer in a real browser: a reader types, points and clicks, and the page shows Python's numbers."""

import json
import re
import shutil
import threading
import time

import pytest
import torch

from minigpt import GPT2, GPT2Config, load_model, load_tokenizer
from minigpt.explorer import Server, Subject, write_page
from minigpt.explorer.html import words
from minigpt.explorer.questions import answer
from minigpt.generation.processors import sampling_probabilities
from minigpt.trace import trace

playwright = pytest.importorskip("playwright.sync_api", reason="playwright, which drives a browser, is not installed")
BROWSER = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
if BROWSER is None:
    pytest.skip("no browser: chromium, chromium-browser or google-chrome", allow_module_level=True)

ARGUMENTS = [
    "--no-sandbox",  # as root there is none
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
TEXT = "Return the number of elements in the array. If the array is empty, return the number of"


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=BROWSER, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def tiny():
    return Subject(load_model("tiny"), load_tokenizer("tiny"), "tiny")


@pytest.fixture(scope="module")
def server():
    """A server with a model of its own: while it answers, heads of its model may be off."""
    with Server(Subject(load_model("tiny"), load_tokenizer("tiny"), "tiny"), text=TEXT) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        yield server
        server.shutdown()


@pytest.fixture(scope="module")
def context(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-US", color_scheme="light")
    context.set_default_timeout(10_000)
    yield context
    context.close()


class Page:
    """A page, what went wrong in it, and every address that it asked for."""

    def __init__(self, context, address: str):
        self.page, self.faults, self.requests = context.new_page(), [], []
        self.page.on("pageerror", lambda error: self.faults.append(str(error)))
        self.page.on("console", self.note)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.goto(address)
        self.quiet()

    def note(self, message) -> None:
        """What the browser's console says, but for answers that are refusals: those are meant."""
        if message.type in ("error", "warning") and "the server responded with a status of 400" not in message.text:
            self.faults.append(message.text)

    def wait(self, condition: str) -> None:
        """Until a condition in JavaScript holds. (playwright's own waiting needs eval, which the page forbids.)"""
        end = time.monotonic() + 20
        while not self.page.evaluate(condition):
            assert time.monotonic() < end, f"{condition}; {self.faults}"
            self.page.wait_for_timeout(15)

    def quiet(self) -> None:
        """Wait until nothing is asked, and the view is drawn."""
        self.wait("state.reading && !document.body.dataset.busy && document.body.dataset.drawn === String(drawing)")

    def view(self, name: str) -> None:
        self.page.click(f"nav button[data-view={name}]")
        self.quiet()

    def click(self, selector: str) -> None:
        self.page.click(selector)
        self.quiet()

    def text(self, selector: str) -> str:
        return self.page.inner_text(selector)

    def tokens(self) -> list[int]:
        return self.page.evaluate("state.reading.tokens.ids")

    def slide(self, name: str, value: float) -> None:
        self.page.evaluate(
            "([name, value]) => { const input = byId(name); input.value = value; "
            "input.dispatchEvent(new Event('input')); }",
            [name, value],
        )

    def probabilities(self) -> dict[int, float]:
        """What the bars show."""
        rows = self.page.eval_on_selector_all(
            "#bars tr[data-id]", "rows => rows.map(row => [Number(row.dataset.id), Number(row.dataset.probability)])"
        )
        return dict(rows)


@pytest.fixture
def page(context, server):
    page = Page(context, server.url)
    yield page
    page.page.evaluate("localStorage.clear()")
    page.page.close()
    assert page.faults == []


def numbers_in(text: str) -> list[float]:
    return [float(number) for number in re.findall(r"-?\d+\.\d+(?:e-\d+)?", text)]


def test_a_text_is_typed_and_its_numbers_are_pythons(page, tiny):
    page.page.fill("#text", TEXT + " bytes")
    page.page.press("#text", "Enter")
    page.quiet()
    ids = tiny.tokenizer.encode(TEXT + " bytes")
    expected = answer(tiny, "read", {"text": TEXT + " bytes"})
    assert page.tokens() == ids
    assert numbers_in(page.text("#perplexity"))[0] == pytest.approx(expected["perplexity"], rel=1e-6)
    boxes = page.page.eval_on_selector_all("#row-tokens .token small", "boxes => boxes.map(box => box.textContent)")
    losses = [None if text.endswith("–") else float(text.split(" · ")[1]) for text in boxes]
    assert losses[0] is None and losses[1:] == pytest.approx(expected["losses"][1:], abs=0.006)
    assert [int(text.split(" ·")[0]) for text in boxes] == ids


def test_pointing_at_a_map_names_the_weight(page, tiny):
    """Where the prediction looks in words; a cell of a head's map; a token over which the pointer is."""
    seen = trace(tiny.model, torch.tensor([tiny.tokenizer.encode(TEXT)]))
    found = answer(tiny, "effects", {"tokens": page.tokens()})["effects"]
    most = max(found, key=lambda effect: effect["moved"])
    assert most["heads"] == [["self", 3, 2]] and most["pieces"][0] == " elements"
    means = torch.stack(seen.attention_weights)[:, 0, :, -1].mean(dim=(0, 1))
    assert f"looks most at Return ({100 * float(means[0]):.1f}%)" in page.text("#summary")
    page.wait("state.effects !== null")  # the head that matters most comes a moment later
    page.quiet()
    before, after = most["before"][0], most["after"][0]
    assert (
        f"Layer 3, head 2. When it is switched off, ␣elements changes most: from {100 * before:.1f}% to "
        f"{100 * after:.2f}%. In all, {100 * most['moved']:.1f} of 100 points of probability move to other tokens."
    ) in page.text("#summary").replace("\n", " ")
    page.click("#summary button")
    assert page.text("#head-name") == "Layer 3, head 2"
    weights = seen.attention_weights[3][0, 2]
    cell, query, key = 30, 17, 8
    page.page.hover(
        "#view .wide .layers canvas + canvas", position={"x": 92 + (key + 0.5) * cell, "y": 78 + (query + 0.5) * cell}
    )
    assert numbers_in(page.text("#pair"))[-1] == pytest.approx(float(weights[query, key]), rel=1e-6)
    assert "␣number looks at .:" in page.text("#pair")
    page.page.hover("#row-tokens .token:nth-child(19)")
    best = weights[18].topk(2)
    first = f"{tiny.tokenizer.pieces([tiny.tokenizer.encode(TEXT)[int(best.indices[0])]])[0].replace(' ', '␣')} "
    assert page.text("#pair").startswith(f"␣of looks most at:  {first}{100 * float(best.values[0]):.1f}%")
    page.click("#as-lines")
    assert page.page.get_attribute("#as-lines", "aria-pressed") == "true"
    page.page.hover("#row-tokens .token:nth-child(5)")
    looks, looked = page.text("#pair").split("\n")
    assert looks.startswith("␣elements looks most at:") and looked.startswith("␣elements is looked at most by:")
    most = int(weights[:, 4].argmax())
    assert f"by:  {page.page.evaluate(f'shown(state.reading.tokens.pieces[{most}])')} " in looked


def test_a_head_is_switched_off_and_on(page, tiny):
    page.wait("state.effects !== null")
    page.quiet()
    page.click("#summary button")
    page.click("#switch")
    expected = answer(tiny, "without", {"tokens": page.tokens(), "heads": [["self", 3, 2]]})
    shown = page.page.eval_on_selector_all(
        "#compared tr:not(:first-child)",
        "rows => rows.map(row => [row.querySelector('.before').textContent, row.querySelector('.after').textContent])",
    )
    assert len(shown) == len(expected["ids"]) and shown[0] == ["51.3%", "0.66%"]
    found = page.page.evaluate("[state.without.before, state.without.after, state.without.ids]")
    assert dict(zip(found[2], found[1], strict=True)) == pytest.approx(
        dict(zip(expected["ids"], expected["after"], strict=True)), abs=1e-5
    )
    page.page.click(".side .layers", position={"x": 24 + 68 * 2 + 20, "y": 18 + 71 * 2 + 20})  # a second head
    page.quiet()
    page.click("#switch")
    both = answer(tiny, "without", {"tokens": page.tokens(), "heads": [["self", 3, 2], ["self", 2, 2]]})
    assert page.page.evaluate("state.off") == [["self", 3, 2], ["self", 2, 2]]
    assert page.page.evaluate("state.without.moved") == pytest.approx(both["moved"], abs=1e-5)
    page.page.keyboard.press("x")
    page.quiet()
    assert page.page.evaluate("state.off") == [["self", 3, 2]]


def test_what_could_be_taken_for_something_else_is_said(page, tiny):
    """The frame is not where the prediction is made; heads are off in one view, and stay off; a space at the end."""
    page.wait("state.effects !== null")
    page.quiet()
    note = "#notes [data-note='{}']".format
    assert page.page.locator("#notes p").count() == 0
    page.page.click("#row-tokens .token:nth-child(5)")
    page.quiet()
    said = "The frame is on ␣elements at 4. The prediction is made after the last token, ␣of at 18."
    assert page.text(note("frame next")) == said
    assert page.text("#summary").startswith("The prediction is made after the last token, ␣of (position 18).")
    for view, is_said in (("next", True), ("layers", True), ("head", False)):
        page.view(view)
        assert page.page.locator(note("frame next")).count() == is_said
    page.view("attention")
    assert page.page.locator(note("heads")).count() == 0
    page.click("#as-lines")
    assert "left: the token that looks; right" in page.text(".wide .buttons")
    page.click("#summary button")
    page.click("#switch")
    page.view("next")
    assert page.text(note("heads")).startswith("Heads are switched off in the view Attention only.")
    page.click("#next")
    page.wait("state.effects !== null && state.without !== null")
    page.view("attention")
    expected = answer(tiny, "without", {"tokens": page.tokens(), "heads": [["self", 3, 2]]})
    assert page.page.evaluate("state.without.moved") == pytest.approx(expected["moved"], abs=1e-5)
    assert page.text("#moved").startswith(f"{100 * expected['moved']:.1f} of 100 points")
    page.page.fill("#text", "Return the ")
    page.click("#read")
    assert "ends in a space" in page.text(note("space"))
    page.page.fill("#text", "Return the\n    ")  # the indentation of a line is no such space
    page.click("#read")
    assert page.page.locator(note("space")).count() == 0


def test_the_text_box_follows_and_back_leaves_what_was_typed(page):
    page.view("next")
    assert page.page.is_disabled("#back") and page.page.get_attribute("#likeliest", "aria-pressed") == "true"
    typed = page.tokens()
    page.click("#next")
    assert page.page.input_value("#text") == TEXT + " elements"
    page.click("#back")
    assert page.page.input_value("#text") == TEXT and page.page.is_disabled("#back")
    page.page.keyboard.press("b")
    page.quiet()
    assert page.tokens() == typed
    page.page.fill("#text", "what the reader types")
    page.click("#next")
    assert page.page.input_value("#text") == "what the reader types"
    page.slide("temperature", 1.2)
    assert page.page.get_attribute("#draw", "aria-pressed") == "true" and page.page.is_visible("#seed")
    page.slide("temperature", 1)
    assert page.text("#view output >> nth=0") == "1 (no change)"


def test_inside_one_head_the_numbers_lead_to_the_weight(page, tiny):
    page.view("head")
    for name, value in [("layer", "2"), ("head", "3"), ("query", "10"), ("key", "4")]:
        page.page.select_option(f"#view select#{name}", value)
        page.quiet()
    head = trace(tiny.model, torch.tensor([tiny.tokenizer.encode(TEXT)])).attention[2]
    q, k, v = head.queries[0, 3, 10].double(), head.keys[0, 3, 4].double(), head.values[0, 3, 4].double()
    weight = float(head.weights[0, 3, 10, 4])

    def number(name: str) -> float:
        return float(page.text(f"#{name}"))

    assert number("product") == pytest.approx(float(q @ k), abs=1e-5)
    assert number("score") == pytest.approx(float(q @ k) / 32**0.5, abs=1e-6)
    assert number("softmax") == pytest.approx(weight, abs=1e-6)
    assert page.page.eval_on_selector_all("#view h2", "all => all.map(one => one.textContent[0])") == ["1", "2", "3"]
    boxes = [page.page.locator(f"#view h2 >> nth={n}").bounding_box() for n in range(3)]
    assert boxes[0]["x"] < boxes[1]["x"] and boxes[0]["y"] == boxes[1]["y"] < boxes[2]["y"]
    assert page.text("h3:has-text('weight') span").strip() == page.text("#softmax")  # the same digits in all cards
    row = page.page.eval_on_selector_all("#scores tr.on td", "cells => cells.map(cell => cell.textContent)")
    assert float(row[3]) == pytest.approx(weight, abs=1e-6) and row[2] == "0"
    assert row[3] == page.text("#softmax")
    vectors = page.page.eval_on_selector_all(
        "[data-vector]", "all => all.map(one => [...one.children].map(cell => Number(cell.dataset.exact)))"
    )
    expected = [q, k, q * k, v, weight * v, head.heads[0, 3, 10]]
    for shown, vector in zip(vectors, expected, strict=True):
        assert shown == pytest.approx(vector.tolist(), rel=1e-6, abs=1e-6)
    page.page.hover("[data-vector] .cell[data-d='7']")
    assert numbers_in(page.text("#cell"))[2] == pytest.approx(float(q[7] * k[7]), rel=1e-5)
    assert page.page.locator(".cell.on").count() == 6
    page.page.select_option("#view select#key", "12")
    page.quiet()
    assert "comes after the query" in page.text("#score")


def test_next_back_and_the_sliders(page, tiny):
    page.view("next")
    ids = tiny.tokenizer.encode(TEXT)
    for _ in range(3):
        page.click("#next")
    written = page.tokens()
    with torch.no_grad():
        for place in range(len(ids), len(ids) + 3):
            assert written[place] == int(tiny.model(torch.tensor([written[:place]]))[0, -1].argmax())
    assert len(written) == len(ids) + 3 and f"{len(written)} tokens × 5 layers" in page.text("#cache")
    page.click("#back")
    assert page.tokens() == written[:-1]
    logits = trace(tiny.model, torch.tensor([written[:-1]])).logits[:, -1]
    assert page.probabilities() == pytest.approx(dict(likeliest(sampling_probabilities(logits), logits)), abs=1e-6)
    page.slide("temperature", 1.6)
    page.slide("top_k", 40)
    page.slide("top_p", 0.9)
    page.slide("min_p", 0.02)
    drawn_from = sampling_probabilities(logits, 1.6, 40, 0.9, 0.02)
    assert page.probabilities() == pytest.approx(dict(likeliest(drawn_from, logits)), abs=1e-6)
    assert page.text("#allowed").startswith(f"{int((drawn_from > 0).sum())} of 4096")
    page.click("#draw")
    page.click("#next")
    assert drawn_from[0, page.tokens()[-1]] > 0
    before = len(page.tokens())
    page.page.click("#run")
    page.wait(f"state.reading.tokens.ids.length >= {before + 3}")
    page.page.evaluate("state.running && byId('run').click()")
    page.wait("!state.running")
    page.quiet()


def likeliest(probabilities, logits):
    return [(i, float(probabilities[0, i])) for i in logits[0].topk(20).indices.tolist()]


def test_the_rules_of_sampling_are_pythons(page, tiny):
    """Every token's probability, for many settings."""
    torch.manual_seed(0)
    logits = trace(tiny.model, torch.tensor([tiny.tokenizer.encode(TEXT)])).logits[:, -1]
    draw = torch.rand(30, 4).tolist()
    settings = [
        {
            "temperature": round(0.1 + 1.9 * a, 2),
            "top_k": None if b < 0.3 else 1 + int(100 * b),
            "top_p": None if c < 0.3 else round(0.01 + 0.98 * c, 2),
            "min_p": None if d < 0.3 else round(d / 2, 2),
        }
        for a, b, c, d in draw
    ]
    found = page.page.evaluate(
        "all => all.map(settings => [...softmax(processed(unpack(state.reading.prediction.logits).at, settings, "
        "model.processors))])",
        settings,
    )
    for one, shown in zip(settings, found, strict=True):
        expected = sampling_probabilities(logits, **one)[0]
        assert float((torch.tensor(shown) - expected).abs().max()) < 1e-6, one


def test_chinese_at_one_click_and_remembered(page):
    page.click("#language")
    assert (
        page.text("nav button[data-view=next]") == "下一个词元" and page.page.get_attribute("html", "lang") == "zh-CN"
    )
    assert page.text("#summary").startswith("预测在最后一个词元 ␣of（位置 18）之后作出。")
    for view in ("head", "next", "layers", "perplexity"):
        page.view(view)
        shown = page.text("#view")
        sentences = [english for english, _ in words().values() if " " in english and "{" not in english]
        assert len(re.findall(r"[\u4e00-\u9fff]", shown)) > 20 and not [text for text in sentences if text in shown]
    page.page.reload()
    page.quiet()
    assert page.text("#language") == "English"
    page.page.keyboard.press("l")
    page.quiet()
    assert page.text("#language") == "中文"


def test_perplexity_of_a_longer_text(page, tiny):
    page.view("perplexity")
    assert page.page.input_value("#long-text") == TEXT and "from the top of the page" in page.text("#which-text")
    page.click("#measure")
    assert [page.page.input_value(f"#{name}") for name in ("window", "stride")] == ["", ""]
    page.page.fill("#text", "Return the number")
    page.click("#read")
    assert "an example" in page.text("#which-text") and "zeros" in page.page.input_value("#long-text")
    page.page.fill("#long-text", TEXT * 3)
    page.page.fill("#window", "20")
    page.click("#measure")
    assert page.page.input_value("#window") == "20" and page.page.input_value("#stride") == ""
    n = len(tiny.tokenizer.encode(TEXT * 3))
    assert (
        page.text("#measured") == f"Measured: Return the number of elements in the array. If the array … ({n} tokens)"
    )
    expected = answer(tiny, "perplexity", {"text": TEXT * 3, "window": 20})
    rows = page.page.eval_on_selector_all(
        "#averages tr.pick", "rows => rows.map(row => [...row.children].map(cell => Number(cell.textContent)))"
    )
    assert [row[0] for row in rows] == [20, 10, 5]
    for row, one in zip(rows, expected["strides"], strict=True):
        assert row[1:3] == [len(one["windows"]), one["scored"]]
        assert row[3] == pytest.approx(one["averages"]["perplexity"], rel=1e-6)
    page.page.click("#averages tr.pick:nth-child(4)")
    page.quiet()
    page.page.evaluate("const s = byId('which'); s.value = 2; s.dispatchEvent(new Event('input'))")
    begin, first, end = expected["strides"][2]["windows"][2]
    kinds = page.page.eval_on_selector_all("#window-text span", "spans => spans.map(span => span.className)")
    assert [i for i, kind in enumerate(kinds) if kind == "context"] == list(range(begin, first))
    assert [i for i, kind in enumerate(kinds) if kind == "scored"] == list(range(first, end))


def test_what_is_refused_is_told_and_markup_stays_text(page):
    page.page.fill("#text", "word " * 300)
    page.click("#read")
    assert "tokens are too many for the text: this page reads at most 256" in page.text("#message")
    page.page.fill("#text", "<script>alert(1)</script><img src=x onerror=alert(1)> 中文 😀 \u202e\x07")
    page.click("#read")
    assert page.page.is_hidden("#message")
    shown = page.page.eval_on_selector_all("#row-tokens .token", "boxes => boxes.map(box => box.firstChild.data)")
    assert page.page.locator("#row-tokens img, #row-tokens script").count() == 0
    pieces = page.page.evaluate("state.reading.tokens.pieces.map(shown)")
    assert any(re.fullmatch(r"(<[0-9A-F]{2}>)+", piece) for piece in pieces) and "\\u0007" in "".join(pieces)
    assert "<" in "".join(filter(None, shown))
    for view in ("head", "next", "layers", "attention"):
        page.view(view)
    assert len(page.page.context.pages) == 1


def assert_heads_of_a_t5(page) -> None:
    """One weight of each of its three attentions, followed to its end; with a bias where there is one."""
    rows = page.page.evaluate("[state.reading.source.ids, state.reading.tokens.ids]")
    seen = trace(load_model("tiny-t5"), *(torch.tensor([row]) for row in rows))
    for n, layers in enumerate((seen.encoder.attention, seen.attention, seen.cross_attention)):
        for name, value in [("kind", n), ("layer", 1), ("head", 2), ("query", 4), ("key", 3)]:
            page.page.select_option(f"#view select#{name}", str(value))
            page.quiet()
        head, weight = layers[1], float(layers[1].weights[0, 2, 4, 3])
        product = float(head.queries[0, 2, 4].double() @ head.keys[0, 2, 3].double())
        assert float(page.text("#product")) == pytest.approx(product, abs=1e-5)
        assert float(page.text("#softmax")) == pytest.approx(weight, abs=1e-6)
        assert page.page.locator("#bias").count() == (n < 2)


@pytest.mark.parametrize("source, text", [("tiny-bert", "Open the [MASK] and return a file object."), ("tiny-t5", "")])
def test_the_other_families(context, source, text):
    subject = Subject(load_model(source), load_tokenizer(source), source)
    with Server(subject, text=text or None) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        page = Page(context, server.url)
        for view in ("head", "next", "layers", "perplexity", "attention"):
            page.view(view)
        if source == "tiny-bert":
            assert "would put ␣file there, with a probability of 64.6%" in page.text("#summary")
            page.view("next")
            page.page.click("#row-tokens .token:nth-child(7)")
            page.quiet()
            assert page.text("#notes") == "The frame is on ␣return at 6. The prediction is made at [MASK] at 4."
            page.click("#look")
            assert page.text("#notes").startswith("The model can see ␣return at 6, the token that it predicts.")
            page.click("#hide")
            assert page.text("#notes") == ""
            assert page.page.input_value("#text") == "Open the [MASK] and [MASK] a file object."
            assert page.tokens()[6] == subject.tokenizer.mask_id and "position 6" in page.text("#view h2")
        else:
            kinds = page.page.eval_on_selector_all("#view .wide .layers", "maps => maps.map(map => map.dataset.kind)")
            assert kinds == ["encoder", "decoder", "cross"]
            page.view("head")
            assert_heads_of_a_t5(page)
            page.view("next")
            page.click("#next")
            assert "has ended its text with </s>" in page.text("#ended")
            assert page.page.is_disabled("#next") and page.page.is_disabled("#run")
            n = len(page.tokens())
            for key in "nr":
                page.page.keyboard.press(key)
                page.quiet()
            assert len(page.tokens()) == n and not page.page.evaluate("state.running")
            n_source = page.page.evaluate("state.reading.source.ids.length")
            assert page.text("#cache-source").split("\n")[2].startswith(f"{n_source} tokens × 3 layers")
            assert page.text("#cache h2") == "KV cache: the decoder's own" and page.text("#notes") == ""
            page.page.fill("#text", "Return the list")
            page.click("#read")
            assert "This text has no gap" in page.text("#notes") and page.page.is_enabled("#next")
            page.view("attention")
            assert "In the cross attention (it looks at the source" in page.text("#summary")
        page.page.close()
        server.shutdown()
        assert page.faults == []


def test_the_file_works_without_a_network(browser, tiny, tmp_path):
    """No request but the file itself, in a browser that is offline; every view; a head is switched off; 390 pixels."""
    file = write_page(tiny.model, tiny.tokenizer, TEXT, tmp_path / "page.html", "tiny")
    context = browser.new_context(viewport={"width": 390, "height": 800}, offline=True, locale="zh-CN")
    context.set_default_timeout(10_000)
    page = Page(context, file.as_uri())
    assert page.page.is_hidden("#ask") and page.text("nav button[data-view=head]") == "一个头的内部"
    for view in ("head", "next", "layers", "perplexity", "attention"):
        page.view(view)
        assert page.page.evaluate("document.documentElement.scrollWidth") <= 390, view
    page.view("next")
    assert page.page.locator("#next, #run, #back").count() == 0
    logits = trace(tiny.model, torch.tensor([tiny.tokenizer.encode(TEXT)])).logits[:, -1]
    page.slide("temperature", 0.5)
    drawn_from = dict(likeliest(sampling_probabilities(logits, 0.5), logits))
    assert page.probabilities() == pytest.approx(drawn_from, abs=1e-6)
    page.view("attention")
    page.click("#summary button")
    page.click("#switch")
    effect = next(
        one for one in answer(tiny, "effects", {"tokens": page.tokens()})["effects"] if one["heads"] == [["self", 3, 2]]
    )
    assert page.page.evaluate("state.without.moved") == pytest.approx(effect["moved"], abs=1e-5)
    assert page.requests == [file.as_uri()] and page.faults == []
    context.close()


def longest_task(browser, page, act) -> float:
    """The longest task of the page's thread while act() runs, in seconds of its own: the browser's trace says so, and
    other programs on the machine do not count."""
    browser.start_tracing(page=page, categories=["toplevel"])
    act()
    page.wait_for_timeout(100)
    events = json.loads(browser.stop_tracing())["traceEvents"]
    named = [event for event in events if event["name"] == "thread_name"]
    threads = {(e["pid"], e["tid"]) for e in named if e["args"]["name"] == "CrRendererMain"}
    return max(event["tdur"] for event in events if (event["pid"], event["tid"]) in threads and "tdur" in event) / 1e6


def test_pointing_stays_quick_with_128_tokens_and_144_heads(browser, context):
    torch.manual_seed(0)
    config = GPT2Config(vocab_size=4096, n_positions=128, n_embd=48, n_layer=12, n_head=12)
    subject = Subject(GPT2(config, attention="sdpa").eval(), load_tokenizer("tiny"), "random")
    text = subject.tokenizer.decode(subject.tokenizer.encode(TEXT * 8)[:128])
    with Server(subject, text=text) as server:
        threading.Thread(target=server.serve_forever, args=[0.05], daemon=True).start()
        page = Page(context, server.url)
        assert len(page.tokens()) == 128
        page.page.evaluate("choose('self', 5, 7)")
        page.quiet()
        box = page.page.locator("#view .wide .layers").bounding_box()

        def point():
            for step in range(30):
                page.page.mouse.move(box["x"] + 100 + 17 * step, min(880, box["y"] + 100 + 11 * step))
            for token in range(1, 128, 16):
                page.page.hover(f"#row-tokens .token:nth-child({token})")

        assert 0.0005 < longest_task(browser, page.page, point) < 0.2
        work = "() => { let x = 0; for (let i = 0; i < 2e8; i++) x += Math.sqrt(i); return x; }"
        assert longest_task(browser, page.page, lambda: page.page.evaluate(work)) > 0.05  # what is measured is work
        page.page.close()
        server.shutdown()
