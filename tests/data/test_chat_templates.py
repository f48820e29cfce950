"""The chat templates that we write render what training reads, byte for byte; `auto` is one rule for every folder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import example as also
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from stillage.data.bpe import train_bpe
from stillage.data.chat_templates import (
    AS_CHAT,
    EARLIER,
    as_chat,
    chosen_template,
    layout_note,
    own_layout,
    read_chat_template,
)
from stillage.data.templates import chat_turns, render_prompt
from stillage.data.tokenise import encode_prompts, tokenise
from stillage.errors import ModelError
from stillage.types import Record

OTHER = "{% for m in messages %}<{{ m.role }}>{{ m.content | trim }}{% endfor %}"
WORDS = st.text(max_size=8) | st.sampled_from(
    [
        "  both ends \n",
        "\n",
        "{{ 7 * 7 }}",
        "{% raw %}",
        "{# gone #}",
        "<b>&amp;",
        "\n\n### Input:\n",
        "tab\t'\"\\n",
    ]
)
TURNS = st.lists(st.tuples(st.sampled_from(["user", "assistant", "system"]), WORDS), max_size=4)


def record(
    prompt: str, input: str = "", messages: tuple[tuple[str, str], ...] = (), response: str = "r"
) -> Record:
    return Record(id="0", prompt=prompt, input=input, response=response, messages=messages)


@pytest.fixture(scope="module")
def folders(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[tuple[str, bool], PreTrainedTokenizerFast]:
    """(layout, with BOS) -> a tokenizer that was saved with our chat template and loaded again."""
    from tokenizers import processors

    found = {}
    for with_bos in (False, True):
        tokenizer = train_bpe(["some words of a few records, each with an instruction"], 300)
        if with_bos:
            tokenizer.add_special_tokens({"bos_token": "<s>"})
            tokenizer.backend_tokenizer.post_processor = processors.TemplateProcessing(
                single="<s> $A", special_tokens=[("<s>", tokenizer.bos_token_id)]
            )
        for layout in AS_CHAT:
            tokenizer.chat_template = as_chat(layout, tokenizer)
            folder = tmp_path_factory.mktemp("folder")
            tokenizer.save_pretrained(folder)
            found[layout, with_bos] = AutoTokenizer.from_pretrained(folder)
            assert read_chat_template(folder) == found[layout, with_bos].chat_template
    return found


@settings(max_examples=120)
@given(WORDS, WORDS, TURNS, WORDS)
@also("Sort.", "", [], "1 3")
@also("Sort.", "3 1", [], "1 3")
@also(" Sort.\n", "\n3 1 ", [], "1 3\n")
@also("Two?", "", [("user", "One?"), ("assistant", "1"), ("user", " Two?\n")], "2")
@also("{{ messages }}", "{% endfor %}", [], "{{ 1 }}")
def test_a_chat_template_of_ours_renders_the_training_layout(
    folders: dict[tuple[str, bool], PreTrainedTokenizerFast],
    prompt: str,
    input: str,
    turns: list[tuple[str, str]],
    response: str,
) -> None:
    one = record(turns[-1][1] if turns else prompt, "" if turns else input, tuple(turns), response)
    if not one.prompt and not one.input and not turns:
        return  # text alone has no layout
    for (layout, with_bos), tokenizer in folders.items():
        messages = chat_turns(one)
        first = "<s>" if with_bos else ""
        asked = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
        assert asked == first + render_prompt(one, layout)
        whole = tokenizer.apply_chat_template(
            [*messages, {"role": "assistant", "content": response}], tokenize=False
        )
        assert whole == f"{first}{render_prompt(one, layout)}{response}{tokenizer.eos_token}"


def test_the_folder_says_our_layouts_by_their_name_and_training_tokens_come_back(
    folders: dict[tuple[str, bool], PreTrainedTokenizerFast],
) -> None:
    records = [
        record("A <|endoftext|> inside", "and an input"),
        record("Sort."),
        record("", response="text alone"),
    ]
    for (layout, _), tokenizer in folders.items():
        assert own_layout(tokenizer.chat_template) == chosen_template("auto", tokenizer) == layout
        by_rule = tokenise(records, tokenizer, max_tokens=512).examples
        by_name = tokenise(records, tokenizer, template=layout, max_tokens=512).examples
        assert [e.ids_T.tolist() for e in by_rule] == [e.ids_T.tolist() for e in by_name]
        prompts = encode_prompts(records[:2], tokenizer, max_prompt_tokens=256)
        assert [p.tolist() for p in prompts] == [e.prompt_ids.tolist() for e in by_name[:2]]


def test_what_a_chat_template_means() -> None:
    assert {name: own_layout(text) for name, text in AS_CHAT.items()} == {
        "alpaca": "alpaca",
        "raw": "raw",
    }
    assert {name: own_layout(text) for name, text in EARLIER.items()} == {
        "alpaca": "alpaca",
        "raw": "raw",
    }
    assert own_layout(None) == own_layout("") == own_layout({"tool_use": OTHER}) == "alpaca"
    assert own_layout(OTHER) == own_layout({"default": OTHER}) == "chat"
    assert own_layout({"default": AS_CHAT["raw"], "tool_use": OTHER}) == "raw"


def test_auto_is_the_tokenizers_own_else_alpaca_and_any_other_name_is_itself() -> None:
    tokenizer = train_bpe(["some words"], 280)
    assert [chosen_template("auto", None), chosen_template("auto", tokenizer)] == [
        "alpaca",
        "alpaca",
    ]
    assert (
        layout_note("auto", tokenizer, "m") == "layout of prompts: alpaca (m has no chat template)"
    )
    tokenizer.chat_template = OTHER
    assert (
        chosen_template("auto", tokenizer) == "chat"
        and render_prompt(record("a", "b"), "auto", tokenizer) == "<user>a\n\nb"
    )
    assert layout_note("auto", tokenizer, "m") == "layout of prompts: chat (as m says)"
    said = "layout of prompts: raw (warning: m says a chat template of its own)"
    assert layout_note("raw", tokenizer, "m") == said and chosen_template("raw", tokenizer) == "raw"
    tokenizer.chat_template = AS_CHAT["raw"]
    assert (
        layout_note("alpaca", tokenizer, "m") == "layout of prompts: alpaca (warning: m says raw)"
    )


@pytest.mark.parametrize(
    "template", [None, OTHER, {"default": OTHER, "tool_use": "x"}, {"tool_use": OTHER}]
)
@pytest.mark.parametrize("as_file", [True, False])
def test_the_files_say_what_the_loaded_tokenizer_says(
    template: object, as_file: bool, tmp_path: Path
) -> None:
    tokenizer = train_bpe(["some words"], 280)
    tokenizer.chat_template = template
    tokenizer.save_pretrained(tmp_path)
    if not as_file:  # as older versions wrote it
        for path in [*tmp_path.rglob("*.jinja")]:
            path.unlink()
        named = (
            [{"name": name, "template": text} for name, text in template.items()]
            if isinstance(template, dict)
            else template
        )
        path = tmp_path / "tokenizer_config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | {"chat_template": named}))
    loaded = AutoTokenizer.from_pretrained(tmp_path).chat_template
    expected = loaded.get("default", "") if isinstance(loaded, dict) else loaded or ""
    assert read_chat_template(tmp_path) == expected
    assert own_layout(loaded) == own_layout(read_chat_template(tmp_path))


@pytest.mark.parametrize(
    "broken", [[{"name": "default"}], ["a text"], [{"name": "other", "template": "x"}, 3]]
)
def test_a_broken_list_of_templates_is_an_error_of_the_folder(
    broken: list[object], tmp_path: Path
) -> None:
    (tmp_path / "tokenizer_config.json").write_text(json.dumps({"chat_template": broken}))
    with pytest.raises(ModelError, match="cannot be read"):
        read_chat_template(tmp_path)
