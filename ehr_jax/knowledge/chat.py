"""Asking a server of chat completions that the user runs: vLLM, llama.cpp, Ollama, transformers.

What is sent are patients' notes, so only servers on this machine or in its private network are
asked, unless the user allows another; that is checked again on the open connection, before anything
is sent, and proxies and redirects are not followed. An answer is bounded in time and size, and no
message of this module holds a word of a note or of an answer.
"""

import http.client
import ipaddress
import json
import os
import socket
import ssl
import threading
import time
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from ehr_jax import errors

KEY = "EHR_JAX_API_KEY"  # the environment variable of a server's key, which is never printed
MOST_BYTES = 10_000_000  # of an answer
LONGEST_WAIT = 60.0  # seconds between two tries

# What may come of asking, beside an answer.
DOWN = "down"  # no connection, or it broke, or the server says it cannot now
SLOW = "slow"  # no whole answer in time
REFUSED = "refused"  # the server will not take the request, such as one that is too long
TOO_LARGE = "too_large"
INVALID_JSON = "invalid_json"
OTHER_SCHEMA = "other_schema"
PROSE = "prose"

TERMS = """\
Notes will be sent to a server outside this machine and its private network.
Notes of PhysioNet's credentialed data sets (MIMIC, eICU and what is made of them) may not be shared
with third parties, and a hosted model is one. PhysioNet recommends models run locally. Who uses a
hosted one has to make sure that it keeps nothing, trains on nothing and lets no person read what
is sent, and answers for that under the data use agreement. Other sources have terms of their own.
"""

_PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        ("127.0.0.0/8", "10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "::1/128", "fc00::/7"),
    )
)
_BUSY = (408, 425, 429, 500, 502, 503, 504)


class Failure(Exception):
    """Asking gave no answer; `kind` is one of the constants above."""

    def __init__(self, kind: str):
        super().__init__(kind)
        self.kind = kind


class Server(NamedTuple):
    """A server and how it is asked."""

    url: str  # "http://localhost:8000/v1"
    model: str  # the name it serves the model by
    seconds: float = 120.0  # for a whole answer
    tokens: int = 1024  # of an answer, at most
    tries: int = 3  # of a request that finds the server down or slow
    wait: float = 1.0  # seconds before the second try; doubled for each one after
    seed: int = 0
    allow_remote: bool = False


def check(server: Server) -> None:
    """Raises ConfigError where a server must not or cannot be asked; prints TERMS for a remote one.

    A server that does not answer is no error here.
    """
    parts = _parts(server)
    for name in ("seconds", "tokens", "tries"):
        if not getattr(server, name) > 0:
            raise errors.ConfigError(
                f"server of the language model: {name} is {getattr(server, name)}; expected a "
                "number above 0"
            )
    if not server.model:
        raise errors.ConfigError(
            "server of the language model: no model is named; give the name the server serves it by"
        )
    try:
        found = socket.getaddrinfo(parts.hostname, parts.port, type=socket.SOCK_STREAM)
    except OSError:
        raise errors.ConfigError(
            f"server of the language model: the host '{parts.hostname}' is not known; check the URL"
        ) from None
    if all(_is_private(address[0]) for *_, address in found):
        return
    if not server.allow_remote:
        raise errors.ConfigError(
            f"server of the language model: '{parts.hostname}' is neither this machine nor in its "
            "private network, so notes are not sent there. Run the server locally, or, if the "
            "terms of your notes allow this, set allow_remote"
        )
    if parts.scheme != "https":
        raise errors.ConfigError(
            f"server of the language model: '{parts.hostname}' is remote; its URL must begin with "
            "https://"
        )
    print(TERMS, flush=True)


def ask(server: Server, messages: Sequence[Mapping[str, str]], schema: Mapping[str, Any]) -> str:
    """Returns what the model answers, which `schema` may or may not have bound.

    A server that is down or slow is asked again, up to `server.tries` times, waiting longer each
    time. One that refuses the schema is asked once more without.

    Raises:
      Failure: there is no answer.
      ConfigError: the server wants another key, or does not serve the model or this address.
    """
    request = {
        "model": server.model,
        "messages": list(messages),
        "temperature": 0,
        "seed": server.seed,
        "max_tokens": server.tokens,
        "stream": False,
    }
    named = {"name": "answer", "strict": True, "schema": schema}
    bound = request | {"response_format": {"type": "json_schema", "json_schema": named}}
    try:
        return _content(_insist(server, bound))
    except Failure as failure:
        if failure.kind != REFUSED:
            raise
    return _content(_insist(server, request))


def _insist(server: Server, request: Mapping[str, Any]) -> bytes:
    """Asks until there is an answer or no try is left."""
    body = json.dumps(request).encode()
    for tried in range(server.tries):
        try:
            return _post(server, body)
        except Failure as failure:
            if failure.kind not in (DOWN, SLOW) or tried + 1 == server.tries:
                raise
        time.sleep(min(server.wait * 2**tried, LONGEST_WAIT))
    raise AssertionError("tries is above 0")


def _post(server: Server, body: bytes) -> bytes:
    """Returns the body of one answer."""
    parts = _parts(server)
    path = parts.path.rstrip("/")
    if not path.endswith("/chat/completions"):
        path += "/chat/completions"
    headers = {"Content-Type": "application/json", "User-Agent": "ehr_jax"} | _authorization()
    if parts.scheme == "https":
        context = ssl.create_default_context()
        connection = http.client.HTTPSConnection(
            parts.hostname, parts.port, timeout=server.seconds, context=context
        )
    else:
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=server.seconds)
    deadline = time.monotonic() + server.seconds
    clock = None
    try:
        connection.connect()
        # A name may have come to lead elsewhere since it was checked.
        if not (server.allow_remote or _is_private(connection.sock.getpeername()[0])):
            raise errors.ConfigError(
                f"server of the language model: '{parts.hostname}' led outside the private "
                "network; nothing was sent"
            )
        # Time-outs of the socket are of each read; this one is of all together.
        clock = threading.Timer(deadline - time.monotonic(), _shut, [connection.sock])
        clock.start()
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        if answer.status != 200:
            _raise_status(server, answer.status)
        if (answer.length or 0) > MOST_BYTES:
            raise Failure(TOO_LARGE)
        received = answer.read(MOST_BYTES + 1)
        if len(received) > MOST_BYTES:
            raise Failure(TOO_LARGE)
        if time.monotonic() >= deadline:
            raise Failure(SLOW)
        if answer.length:  # bytes that never came
            raise Failure(DOWN)
        return received
    except TimeoutError:
        raise Failure(SLOW) from None
    except (OSError, http.client.HTTPException):
        raise Failure(SLOW if time.monotonic() >= deadline else DOWN) from None
    finally:
        if clock is not None:
            clock.cancel()
        connection.close()


def _authorization() -> dict[str, str]:
    key = os.environ.get(KEY, "").strip()
    # http.client would repeat a key that it cannot send.
    if not (key.isascii() and key.isprintable()):
        raise errors.ConfigError(
            f"the environment variable {KEY} holds characters that no key has; set it again"
        )
    return {"Authorization": f"Bearer {key}"} if key else {}


def _shut(open_socket: socket.socket) -> None:
    try:
        open_socket.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass  # it was closed a moment before


def _raise_status(server: Server, status: int) -> None:
    if status in _BUSY:
        raise Failure(DOWN)
    host = _parts(server).netloc
    if status in (401, 403):
        raise errors.ConfigError(
            f"server of the language model: {host} answers {status}, it wants another key; set "
            f"the environment variable {KEY}"
        )
    if status in (404, 405):
        raise errors.ConfigError(
            f"server of the language model: {host} answers {status}; check the URL (it often ends "
            f"in /v1) and that it serves a model named '{server.model}'"
        )
    raise Failure(REFUSED)


def _content(received: bytes) -> str:
    """Returns the text of a chat completion."""
    try:
        answer = json.loads(received)
    except (ValueError, RecursionError):
        raise Failure(INVALID_JSON) from None
    try:
        content = answer["choices"][0]["message"]["content"]
    except (KeyError, IndexError, TypeError):
        raise Failure(OTHER_SCHEMA) from None
    if not isinstance(content, str):
        raise Failure(OTHER_SCHEMA)
    return content


def _parts(server: Server) -> urllib.parse.SplitResult:
    """Returns the parts of the server's URL; ConfigError where it is none."""
    try:
        parts = urllib.parse.urlsplit(server.url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    if not good:
        raise errors.ConfigError(
            "server of the language model: its URL is not one of http:// or https://; expected one "
            "such as http://localhost:8000/v1"
        )
    if parts.username or parts.password:
        raise errors.ConfigError(
            "server of the language model: its URL holds a name or password; give the key in the "
            f"environment variable {KEY}"
        )
    return parts


def _is_private(address: str) -> bool:
    """Is an IP address that of this machine or of a private network?"""
    found = ipaddress.ip_address(address.partition("%")[0])
    found = getattr(found, "ipv4_mapped", None) or found
    return any(found in network for network in _PRIVATE if network.version == found.version)
