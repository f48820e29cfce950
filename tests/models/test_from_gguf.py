"""GGUF files into model folders: every tensor in its place, no bad file read."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM, PreTrainedModel

import stillage.models.from_gguf as converting
from stillage.cli import main
from stillage.errors import ModelError
from stillage.models.from_gguf import ORIGIN, convert_gguf
from stillage.models.load import load_model, load_tokenizer
from stillage.run.config import ModelConfig
from stillage.run.folder import read_json

gguf = pytest.importorskip("gguf", reason="the extra [gguf] is not installed")
Printed = pytest.CaptureFixture[str]
SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = [("Ġ", "Ġ"), ("1", "2"), ("Ċ", "Ċ"), ("h", "i"), ("Ġ", "hi")]
CHAT = (
    "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}<|im_end|>\n{% endfor %}"
)
PLACES = {
    "embed_tokens": "token_embd",
    "model.norm": "output_norm",
    "lm_head": "output",
    "input_layernorm": "attn_norm",
    "self_attn.q_proj": "attn_q",
    "self_attn.k_proj": "attn_k",
    "self_attn.v_proj": "attn_v",
    "self_attn.o_proj": "attn_output",
    "post_attention_layernorm": "ffn_norm",
    "mlp.gate_proj": "ffn_gate",
    "mlp.up_proj": "ffn_up",
    "mlp.down_proj": "ffn_down",
}


def vocabulary() -> list[str]:
    from tokenizers.pre_tokenizers import ByteLevel

    return [*SPECIAL, *sorted(ByteLevel.alphabet()), *("".join(pair) for pair in MERGES), "<note>"]


def small_llama(*, tied: bool = False) -> PreTrainedModel:
    """Two layers, fewer heads of keys than of queries, weights that all differ."""
    torch.manual_seed(3)
    config = LlamaConfig(
        vocab_size=len(vocabulary()),
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=128,
        rms_norm_eps=1e-5,
        tie_word_embeddings=tied,
        rope_parameters={"rope_type": "default", "rope_theta": 50000.0},
    )
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.2 + (1 if parameter.ndim == 1 else 0))
    return model


def their_name(name: str) -> str:
    place = next(theirs for ours, theirs in PLACES.items() if f"{ours}." in name)
    kind = name.rsplit(".", 1)[1]
    return f"blk.{name.split('.')[2]}.{place}.{kind}" if ".layers." in name else f"{place}.{kind}"


def permuted(values: np.ndarray, heads: int) -> np.ndarray:
    """LlamaModel.permute of llama.cpp's convert_hf_to_gguf.py."""
    return (
        values.reshape(heads, 2, len(values) // heads // 2, *values.shape[1:])
        .swapaxes(1, 2)
        .reshape(values.shape)
    )


def as_stored(model: PreTrainedModel) -> dict[str, np.ndarray]:
    """The model's tensors under llama.cpp's names, in its order."""
    stored = {}
    for name, tensor in model.state_dict().items():
        if name == "lm_head.weight" and model.config.tie_word_embeddings:
            continue
        values = tensor.numpy()
        if "q_proj" in name or "k_proj" in name:
            values = permuted(values, 4 if "q_proj" in name else 2)
        stored[their_name(name)] = np.ascontiguousarray(values)
    return stored


def write_gguf(
    path: Path,
    model: PreTrainedModel,
    *,
    architecture: str = "llama",
    quantize: Mapping[str, gguf.GGMLQuantizationType] | None = None,
    tensors: Callable[[dict[str, np.ndarray]], object] = dict,
    keys: Callable[[gguf.GGUFWriter], object] = lambda writer: None,
    tokenizer: str = "gpt2",
    pre: str = "smollm",
    merges: tuple[tuple[str, str], ...] = tuple(MERGES),
) -> Path:
    """Write a file as llama.cpp does; `tensors` and `keys` change it first."""
    writer = gguf.GGUFWriter(path, architecture)
    writer.add_name("A small one")
    writer.add_license("apache-2.0")
    writer.add_block_count(2)
    writer.add_context_length(128)
    writer.add_embedding_length(64)
    writer.add_feed_forward_length(96)
    writer.add_head_count(4)
    writer.add_head_count_kv(2)
    writer.add_rope_freq_base(50000.0)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(16)
    tokens = vocabulary()
    writer.add_tokenizer_model(tokenizer)
    writer.add_tokenizer_pre(pre)
    writer.add_token_list(tokens)
    writer.add_token_types([3] * 3 + [1] * (len(tokens) - 4) + [4])
    writer.add_token_merges([" ".join(pair) for pair in merges])
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_unk_token_id(0)
    writer.add_pad_token_id(2)
    writer.add_add_bos_token(False)
    writer.add_chat_template(CHAT)
    keys(writer)
    stored = as_stored(model)
    tensors(stored)
    for name, values in stored.items():
        kind = (quantize or {}).get(name)
        writer.add_tensor(
            name, values if kind is None else gguf.quantize(values, kind), raw_dtype=kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="module")
def model() -> PreTrainedModel:
    return small_llama()


@pytest.fixture(scope="module")
def file(model: PreTrainedModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_gguf(tmp_path_factory.mktemp("gguf") / "small.gguf", model)


@pytest.fixture(scope="module")
def folder(file: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("converted") / "small"
    convert_gguf(file, made)
    return made


def refused(file: Path, folder: Path, printed: Printed, *said: str, code: int = 2) -> None:
    """Three lines that say all of `said`, the exit code, and nothing left behind."""
    before = sorted(folder.parent.glob("*"))
    assert main(["convert", str(file), str(folder)]) == code
    text = printed.readouterr().err
    assert len(text.splitlines()) == 3 and "Traceback" not in text, text
    missing = [word for word in said if word not in text]
    assert not missing, f"{missing} not in:\n{text}"
    assert sorted(folder.parent.glob("*")) == before


@pytest.mark.parametrize("tied", [False, True])
def test_every_tensor_comes_through_as_it_was(tied: bool, tmp_path: Path) -> None:
    source = small_llama(tied=tied)
    write_gguf(tmp_path / "m.gguf", source)
    convert_gguf(tmp_path / "m.gguf", tmp_path / "m")
    made = load_model(ModelConfig(path=str(tmp_path / "m")), vocab_size=len(vocabulary()), seed=0)
    expected, found = source.state_dict(), made.state_dict()
    assert expected.keys() == found.keys()
    assert all(torch.equal(expected[name], found[name]) for name in expected)
    ids = torch.arange(3, 43)[None]
    with torch.no_grad():
        torch.testing.assert_close(made(ids).logits, source(ids).logits, rtol=1e-5, atol=1e-5)
    tie = (
        made.get_input_embeddings().weight.data_ptr()
        == made.get_output_embeddings().weight.data_ptr()
    )
    assert tie == made.config.tie_word_embeddings == tied


def test_the_reader_of_transformers_finds_the_same_tensors(file: Path, folder: Path) -> None:
    theirs = AutoModelForCausalLM.from_pretrained(
        file.parent, gguf_file=file.name, dtype=torch.float32
    ).state_dict()
    ours = AutoModelForCausalLM.from_pretrained(folder).state_dict()
    assert theirs.keys() == ours.keys()
    assert all(torch.equal(theirs[name], ours[name]) for name in ours)


def test_settings_are_the_file_s(folder: Path) -> None:
    settings = read_json(folder / "config.json")
    assert settings["rope_parameters"] == {"rope_type": "default", "rope_theta": 50000.0}
    assert settings["rms_norm_eps"] == 1e-5  # not its 32 bits, 9.999999747378752e-06
    assert (
        settings["num_key_value_heads"],
        settings["head_dim"],
        settings["max_position_embeddings"],
    ) == (2, 16, 128)
    assert "quantization_config" not in settings
    stops = read_json(folder / "generation_config.json")
    assert (stops["bos_token_id"], stops["eos_token_id"], stops["pad_token_id"]) == (1, 2, 2)
    origin = read_json(folder / ORIGIN)
    assert (origin["file"], origin["license"], origin["stored_as"]) == (
        "small.gguf",
        "apache-2.0",
        {"F32": 21},
    )


@pytest.mark.parametrize("kind", ["Q4_1", "Q8_0", "F16"])
def test_rounded_weights_are_what_was_stored(
    kind: str, model: PreTrainedModel, tmp_path: Path
) -> None:
    stored = as_stored(model)
    chosen = gguf.GGMLQuantizationType[kind]
    rounded = {
        name: chosen for name in stored if name.startswith("blk.") and stored[name].ndim == 2
    }
    write_gguf(tmp_path / "m.gguf", model, quantize=rounded)
    origin = convert_gguf(tmp_path / "m.gguf", tmp_path / "m")
    assert origin["stored_as"] == {"F32": 7, kind: 14}
    made = load_model(ModelConfig(path=str(tmp_path / "m")), vocab_size=len(vocabulary()), seed=0)
    found = as_stored(made)
    for name in stored:
        if name in rounded:
            expected = gguf.dequantize(gguf.quantize(stored[name], chosen), chosen)
            assert np.array_equal(found[name], expected)
            step = {"Q4_1": 1 / 15, "Q8_0": 1 / 127, "F16": 2**-10}[kind] * (
                stored[name].max() - stored[name].min()
            )
            assert 0 < np.abs(found[name] - stored[name]).max() <= step
        else:
            assert np.array_equal(found[name], stored[name])


def pieces(folder: Path, text: str) -> list[str]:
    tokenizer = load_tokenizer(str(folder))
    return tokenizer.convert_ids_to_tokens(tokenizer(text).input_ids)


def test_texts_are_cut_as_the_file_says(
    model: PreTrainedModel, folder: Path, tmp_path: Path
) -> None:
    # digits stand alone: neither the merge of 1 and 2 applies, nor is the space before a digit taken from its run
    assert pieces(folder, "hi  12\n\n3") == ["hi", "ĠĠ", "1", "2", "ĊĊ", "3"]
    assert pieces(folder, "<|im_start|>hi hi<note><|im_end|>") == [
        "<|im_start|>",
        "hi",
        "Ġhi",
        "<note>",
        "<|im_end|>",
    ]
    write_gguf(tmp_path / "m.gguf", model, pre="gpt-2")
    convert_gguf(tmp_path / "m.gguf", tmp_path / "m")
    assert pieces(tmp_path / "m", "hi  12\n\n3") == ["hi", "Ġ", "Ġ", "12", "Ċ", "Ċ", "3"]


def test_the_tokenizer_knows_where_a_text_ends_and_how_a_chat_is_laid_out(folder: Path) -> None:
    tokenizer = load_tokenizer(str(folder))
    names = (tokenizer.bos_token, tokenizer.eos_token, tokenizer.pad_token, tokenizer.unk_token)
    assert names == ("<|im_start|>", "<|im_end|>", "<|im_end|>", "<|endoftext|>")
    laid_out = tokenizer.apply_chat_template([{"role": "user", "content": "hi"}], tokenize=False)
    assert laid_out == "<|im_start|>user\nhi<|im_end|>\n"
    assert tokenizer.model_max_length == 128
    assert tokenizer.decode(tokenizer("hi  12\n\n3").input_ids) == "hi  12\n\n3"


def overwrite(file: Path, key: str, value: int) -> None:
    """Change a number of the metadata in place."""
    reader = gguf.GGUFReader(file, "r+")
    reader.fields[key].parts[-1][0] = value
    reader.data.flush()


def test_bos_comes_first_where_the_file_says_so(
    model: PreTrainedModel, folder: Path, tmp_path: Path
) -> None:
    assert pieces(folder, "hi") == ["hi"]
    source = write_gguf(tmp_path / "m.gguf", model)
    overwrite(source, "tokenizer.ggml.add_bos_token", True)
    convert_gguf(source, tmp_path / "m")
    assert pieces(tmp_path / "m", "hi") == ["<|im_start|>", "hi"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", ("is not a GGUF file", "empty")),
        (b"a text, not a model\n" * 9, ("is not a GGUF file", "b'a te'")),
        (b"GGUF", ("cannot be read", "size: 4 bytes", "damaged or incomplete")),
        (b"GGUF" + bytes(range(200)), ("cannot be read",)),
        (None, ("cannot be read", "No such file")),
    ],
)
def test_what_is_no_gguf_file(
    content: bytes | None, said: tuple[str, ...], tmp_path: Path, capsys: Printed
) -> None:
    if content is not None:
        (tmp_path / "m.gguf").write_bytes(content)
    refused(tmp_path / "m.gguf", tmp_path / "m", capsys, "m.gguf", *said)


@pytest.mark.parametrize("share", [0.001, 0.02, 0.05, 0.2, 0.6, 0.999])
def test_a_truncated_file(share: float, file: Path, tmp_path: Path, capsys: Printed) -> None:
    whole = file.read_bytes()
    (tmp_path / "m.gguf").write_bytes(whole[: int(len(whole) * share)])
    refused(tmp_path / "m.gguf", tmp_path / "m", capsys, "cannot be read", "damaged or incomplete")


def rename(old: str, new: str) -> Callable[[dict[str, np.ndarray]], object]:
    return lambda tensors: tensors.update({new: tensors.pop(old)})


def spoil(tensors: dict[str, np.ndarray]) -> None:
    tensors["blk.1.ffn_up.weight"] = np.where(
        np.arange(64) == 5, np.float32(np.nan), tensors["blk.1.ffn_up.weight"]
    )


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"architecture": "gemma2"}, ("general.architecture: gemma2", "read: llama")),
        ({"tokenizer": "llama"}, ("tokenizer.ggml.model: llama", "byte-level BPE")),
        ({"pre": "unheard-of"}, ("tokenizer.ggml.pre: unheard-of", "known: gpt-2, smollm")),
        ({"merges": ()}, ("tokenizer", "0 merges")),
        ({"merges": (("x", "nowhere"),)}, ("tokenizer", "all of known tokens: False")),
        (
            {"keys": lambda w: w.add_rope_scaling_type(gguf.RopeScalingType.YARN)},
            ("llama.rope.scaling.type: yarn",),
        ),
        ({"keys": lambda w: w.add_expert_count(8)}, ("would lose", "llama.expert_count: 8")),
        (
            {"tensors": lambda t: t.pop("blk.1.ffn_up.weight")},
            ("missing: model.layers.1.mlp.up_proj.weight",),
        ),
        (
            {"tensors": rename("blk.0.ffn_up.weight", "blk.2.ffn_up.weight")},
            ("without a place: blk.2.ffn_up.weight",),
        ),
        (
            {"tensors": lambda t: t.update({"rope_freqs.weight": np.ones(8, np.float32)})},
            ("rope_freqs.weight",),
        ),
        ({"tensors": spoil}, ("no numbers", "blk.1.ffn_up.weight: 96 of 6144")),
        (
            {"tensors": lambda t: t.update({"blk.0.ffn_up.weight": t["blk.0.ffn_up.weight"][:9]})},
            ("another shape", "(9, 64), expected: (96, 64)"),
        ),
    ],
)
def test_a_foreign_or_damaged_file(
    change: dict[str, object],
    said: tuple[str, ...],
    model: PreTrainedModel,
    tmp_path: Path,
    capsys: Printed,
) -> None:
    write_gguf(tmp_path / "m.gguf", model, **change)
    refused(tmp_path / "m.gguf", tmp_path / "m", capsys, *said)


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("llama.block_count", 2**31 - 1, "llama.block_count: 2147483647, tensors: 21"),
        ("llama.block_count", 1, "without a place: blk.1."),
        ("llama.attention.head_count", 0, "ZeroDivisionError"),
        ("llama.attention.head_count_kv", 4, "another shape"),
        ("llama.rope.dimension_count", 8, "llama.rope.dimension_count: 8"),
        ("tokenizer.ggml.eos_token_id", 9999, "IndexError"),
    ],
)
def test_a_damaged_number(
    key: str, value: int, said: str, model: PreTrainedModel, tmp_path: Path, capsys: Printed
) -> None:
    overwrite(write_gguf(tmp_path / "m.gguf", model), key, value)
    refused(tmp_path / "m.gguf", tmp_path / "m", capsys, said)


def test_without_the_package(
    file: Path, tmp_path: Path, capsys: Printed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(__import__("sys").modules, "gguf", None)
    refused(file, tmp_path / "m", capsys, "not installed", "pip install 'stillage[gguf]'")


def test_a_folder_that_cannot_be_written(file: Path, tmp_path: Path, capsys: Printed) -> None:
    (tmp_path / "taken").write_text("a file")
    refused(file, tmp_path / "taken" / "m", capsys, "cannot be written", "another folder")
    refused(file, tmp_path / "taken", capsys, "has other content", "another folder")
    assert (tmp_path / "taken").read_text() == "a file"


def test_a_folder_with_anything_else_in_it_is_never_replaced(
    file: Path, model: PreTrainedModel, tmp_path: Path, capsys: Printed
) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    refused(file, tmp_path / "mine", capsys, "has other content", "another folder")
    assert (tmp_path / "mine" / "thesis.txt").read_text() == "years of work"
    convert_gguf(file, tmp_path / "m")
    other = write_gguf(tmp_path / "other.gguf", model, pre="gpt-2")
    refused(other, tmp_path / "m", capsys, "converted from another file")


def test_the_same_command_again_changes_nothing_and_sees_damage(
    file: Path, tmp_path: Path, capsys: Printed
) -> None:
    (tmp_path / "m").mkdir()  # an empty folder is no obstacle
    words = ["convert", str(file), str(tmp_path / "m")]
    assert main(words) == 0
    said = capsys.readouterr().out
    assert "21 F32" in said and "apache-2.0" in said
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "m").iterdir()}
    assert main(words) == 0 and capsys.readouterr().out == said
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "m").iterdir()} == before
    (tmp_path / "m" / "config.json").write_text("{}")
    refused(file, tmp_path / "m", capsys, "config.json has changed")
    (tmp_path / "m" / ORIGIN).write_text('{"sha256"')
    refused(file, tmp_path / "m", capsys, f"no {ORIGIN} in it says")


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


@pytest.mark.parametrize(
    ("happens", "code"),
    [
        (full, 75),
        (lambda *_: os.kill(os.getpid(), signal.SIGTERM), 75),
        (lambda *_: os.kill(os.getpid(), signal.SIGINT), 130),
    ],
)
def test_a_conversion_that_is_stopped_leaves_nothing(
    happens: Callable[..., None],
    code: int,
    file: Path,
    tmp_path: Path,
    capsys: Printed,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(
            converting, "write_json", happens
        )  # the last file, when the weights are written already
        assert main(["convert", str(file), str(tmp_path / "m")]) == code
    assert "the same command" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []
    assert main(["convert", str(file), str(tmp_path / "m")]) == 0


@pytest.mark.parametrize("given", ["", "--fast", "one.gguf", "one two three"])
def test_convert_wants_a_file_and_a_folder(given: str, capsys: Printed) -> None:
    assert main(["convert", *given.split()]) == 2
    assert "stillage convert FILE.gguf FOLDER" in capsys.readouterr().err


def test_a_gguf_file_in_the_place_of_a_model_names_the_command(
    file: Path, tmp_path: Path, capsys: Printed
) -> None:
    (tmp_path / "alone").mkdir()
    alone = tmp_path / "alone" / "small.gguf"
    alone.write_bytes(file.read_bytes())
    members, nonmembers = tmp_path / "a.jsonl", tmp_path / "b.jsonl"
    for data in (members, nonmembers):
        data.write_text(
            "".join(f'{{"prompt": "{data.stem} {k}", "response": "r {k}"}}\n' for k in range(4))
        )
    for given in (alone, alone.parent):
        for words in (
            ["generate", str(given), "--prompt", "hi"],
            ["evaluate", str(given), "--data", str(members), "--out", str(tmp_path / "cells")],
            [
                "audit",
                "--student",
                str(given),
                "--data.files.private",
                str(members),
                "--data.files.nonmembers",
                str(nonmembers),
                "--out",
                str(tmp_path / "run"),
            ],
        ):
            assert main(words) == 2, words
            text = capsys.readouterr().err
            assert "GGUF" in text and f"stillage convert {alone} {alone.with_suffix('')}" in text, (
                text
            )
    with pytest.raises(ModelError, match="stillage convert"):
        load_model(ModelConfig(config=str(alone)), vocab_size=9, seed=0)
    (alone.parent / "config.json").write_text('{"model_type": "llama"}')
    with pytest.raises(ModelError, match="stillage convert"):
        load_model(ModelConfig(path=str(alone.parent)), vocab_size=9, seed=0)


def test_a_gguf_file_in_the_place_of_a_config(file: Path, tmp_path: Path, capsys: Printed) -> None:
    binary = tmp_path / "m.gguf"
    binary.write_bytes(file.read_bytes() + b"\xff\xfe")
    assert main(["run", str(binary), "--out", str(tmp_path / "run")]) == 2
    text = capsys.readouterr().err
    assert "m.gguf is not a config" in text and len(text.splitlines()) == 3
    assert main(["evaluate", str(binary)]) == 2
    assert "What shall the model answer?" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("pre", "said", "read"),
    [
        ("llama-bpe", None, ["<|im_start|>", "hint"]),
        ("llama-bpe", False, ["hint"]),
        ("gpt-2", None, ["hi", "n", "t"]),
    ],
)
def test_llama_3_reads_a_whole_word_that_is_a_token_and_begins_with_bos(
    pre: str, said: bool | None, read: list[str]
) -> None:
    """As llama.cpp and Llama 3's own tokenizer: "hint" is a token that no merge makes."""
    from stillage.models.gguf_tokenizer import gguf_tokenizer

    metadata: dict[str, object] = {
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.pre": pre,
        "tokenizer.ggml.tokens": [*vocabulary(), "hint"],
        "tokenizer.ggml.merges": [" ".join(pair) for pair in MERGES],
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "llama.context_length": 128,
    }
    tokenizer = gguf_tokenizer(
        metadata if said is None else metadata | {"tokenizer.ggml.add_bos_token": said}
    )
    assert tokenizer.convert_ids_to_tokens(tokenizer("hint")["input_ids"]) == read
