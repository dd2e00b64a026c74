"""The model's own chat template, for text completions of chats."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from genbench.errors import ConfigError

Template = Callable[[Sequence[Mapping[str, Any]]], str]


def chat_template(name: str | None) -> Template:
    """What turns messages into the prompt the server itself would make of them, ready for the assistant's words.

    `name` is the folder or cached hub name of a tokenizer that has a template. Raises ConfigError where there is none.
    """
    if name is None:
        raise ConfigError("--apply-chat-template needs the model's --tokenizer, whose template it is")
    try:
        from transformers import AutoTokenizer
    except ImportError as error:
        raise ConfigError("--apply-chat-template needs transformers; pip install 'genbench[transformers]'") from error
    try:
        tokenizer = AutoTokenizer.from_pretrained(name, local_files_only=True)
    except (OSError, ValueError) as error:
        why = str(error).splitlines()[0]
        raise ConfigError(f"--tokenizer {name} cannot be read by transformers ({why}); give its folder") from error
    if not tokenizer.chat_template:
        raise ConfigError(f"--tokenizer {name} has no chat template; leave out --apply-chat-template")

    def apply(messages: Sequence[Mapping[str, Any]]) -> str:
        text = tokenizer.apply_chat_template(
            [dict(one) for one in messages], tokenize=False, add_generation_prompt=True
        )
        return str(text)

    return apply
