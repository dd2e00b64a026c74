"""Tiny language models with random weights, made without network: `python make_models.py FOLDER`, or `make(folder)`.

What makes them good for testing a client: every token that can be sampled is one whole common word after a space, so an
answer of n tokens has n words and any tokenizer run over its text finds the same n; and the end-of-text token has its
own bias, so answers either run to their limit or, with `eos_bias` near 4, end by themselves.
"""

import json
import struct
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers

HIDDEN, INNER, LAYERS, HEADS, CONTEXT, VOCABULARY = 64, 128, 2, 2, 2048, 4096
END, START, TURN = "<|end|>", "<|start|>", "<|turn|>"
NEVER = -30.0  # logit of a token that must not be sampled; the others' spread is about 1
TEMPLATE = (
    "{% for message in messages %}<|turn|>{{ message['role'] + '\n' }}"
    "{% if message['content'] is string %}{{ message['content'] }}"
    "{% else %}{% for part in message['content'] %}{{ part['text'] }}{% endfor %}{% endif %}<|end|>{% endfor %}"
    "{% if add_generation_prompt %}<|turn|>assistant:{% endif %}"
)


def words() -> list[str]:
    """The common words genbench's own prompts are made of."""
    return resources.files("genbench.datasets").joinpath("words.txt").read_text().split()


def train() -> Tokenizer:
    """A byte-level BPE in which each of the words, after a space, is one token."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=[END, START, TURN],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator((f" {word} {word}" for word in words()), trainer)
    return tokenizer


def biases(tokenizer: Tokenizer, eos_bias: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Logit bias by token: 0 for a whole word after a space, `eos_bias` for the end, NEVER for the rest."""
    found = np.full(tokenizer.get_vocab_size(), NEVER, np.float32)
    for word in words():
        ids = tokenizer.encode(f" {word}", add_special_tokens=False).ids
        if len(ids) == 1:
            found[ids[0]] = 0
    found[tokenizer.token_to_id(END)] = eos_bias
    return found


def weights(bias: np.ndarray[Any, Any]) -> dict[str, np.ndarray[Any, np.dtype[np.float32]]]:
    """A Llama's tensors by their names in transformers.

    Dimension 0 of the residual stream is 1 for every token and no layer writes to it, so after the last norm it is
    about 1 still, and column 0 of the head is a bias.
    """
    rng = np.random.default_rng(0)

    def normal(rows: int, columns: int, scale: float) -> np.ndarray[Any, np.dtype[np.float32]]:
        return (rng.standard_normal((rows, columns)) * scale).astype(np.float32)

    embedding = normal(len(bias), HIDDEN, 1.0)
    embedding[:, 0] = 1
    head = normal(len(bias), HIDDEN, 1 / HIDDEN**0.5)
    head[:, 0] = bias
    found = {
        "model.embed_tokens.weight": embedding,
        "model.norm.weight": np.ones(HIDDEN, np.float32),
        "lm_head.weight": head,
    }
    for layer in range(LAYERS):
        at = f"model.layers.{layer}."
        for name in ("q_proj", "k_proj", "v_proj", "o_proj"):
            found[f"{at}self_attn.{name}.weight"] = normal(HIDDEN, HIDDEN, 0.1)
        found[f"{at}mlp.gate_proj.weight"] = normal(INNER, HIDDEN, 0.1)
        found[f"{at}mlp.up_proj.weight"] = normal(INNER, HIDDEN, 0.1)
        found[f"{at}mlp.down_proj.weight"] = normal(HIDDEN, INNER, 0.1)
        for name in ("self_attn.o_proj", "mlp.down_proj"):
            found[f"{at}{name}.weight"][0] = 0
        for name in ("input_layernorm", "post_attention_layernorm"):
            found[f"{at}{name}.weight"] = np.ones(HIDDEN, np.float32)
    return found


def save(path: Path, tensors: dict[str, np.ndarray[Any, np.dtype[np.float32]]]) -> None:
    """Write a safetensors file: the length of a JSON header, the header, the raw data.

    Format: https://github.com/huggingface/safetensors
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    at = 0
    for name, data in tensors.items():
        header[name] = {"dtype": "F32", "shape": list(data.shape), "data_offsets": [at, at + data.nbytes]}
        at += data.nbytes
    head = json.dumps(header).encode()
    head += b" " * (-len(head) % 8)
    with path.open("wb") as file:
        file.write(struct.pack("<Q", len(head)) + head)
        for data in tensors.values():
            file.write(data.astype("<f4").tobytes())


def make(folder: Path, eos_bias: float = NEVER) -> Path:
    """Fill a new folder with what transformers loads: weights, configuration, tokenizer, chat template."""
    folder.mkdir(parents=True)
    tokenizer = train()
    tokenizer.save(str(folder / "tokenizer.json"))
    save(folder / "model.safetensors", weights(biases(tokenizer, eos_bias)))
    end, start = tokenizer.token_to_id(END), tokenizer.token_to_id(START)
    config = {
        "architectures": ["LlamaForCausalLM"],
        "model_type": "llama",
        "vocab_size": tokenizer.get_vocab_size(),
        "hidden_size": HIDDEN,
        "intermediate_size": INNER,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "max_position_embeddings": CONTEXT,
        "rms_norm_eps": 1e-5,
        "hidden_act": "silu",
        "tie_word_embeddings": False,
        "torch_dtype": "float32",
        "bos_token_id": start,
        "eos_token_id": end,
        "pad_token_id": end,
    }
    (folder / "config.json").write_text(json.dumps(config))
    sampling = {"do_sample": True, "temperature": 1.0, "eos_token_id": end, "pad_token_id": end, "bos_token_id": start}
    (folder / "generation_config.json").write_text(json.dumps(sampling))
    names = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": END, "bos_token": START, "pad_token": END}
    (folder / "tokenizer_config.json").write_text(json.dumps({**names, "model_max_length": CONTEXT}))
    (folder / "chat_template.jinja").write_text(TEMPLATE)
    return folder


if __name__ == "__main__":
    make(Path(sys.argv[1]))
