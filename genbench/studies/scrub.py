"""Keeps secrets out of messages and files."""

from urllib.parse import parse_qsl

from genbench.options import Target
from genbench.transport.address import secrets_of_proxies

SECRET_LENGTH = 8


class Scrubber:
    """Takes the secrets out of what a server says: some repeat the key they refuse.

    A header's value counts, and each word of it ("Bearer ..."); what is too short to be a secret is left alone, else
    every 1 in a message would go with an 'X-Tenant: 1'.
    """

    def __init__(self, target: Target) -> None:
        values = [line.partition(":")[2] for line in target.header]
        words = {target.api_key or "", *(word for value in values for word in (value.strip(), *value.split()))}
        words |= {value for url in target.url for _, value in parse_qsl(url.partition("?")[2])}
        long_enough = {word for word in words if len(word) >= SECRET_LENGTH}
        self._secrets = sorted(long_enough | secrets_of_proxies(), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        """The text, each secret replaced."""
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text
