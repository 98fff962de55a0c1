"""A chat-completions server that answers what a test tells it to, on this machine."""

import contextlib
import http.server
import json
import threading
from collections.abc import Callable, Iterator


def completion(content) -> bytes:
    """Returns the body of a chat completion with this content."""
    return json.dumps({"choices": [{"message": {"content": content}}]}).encode()


def diseases(*names: str) -> bytes:
    """Returns the body of a completion that lists diseases as asked."""
    return completion(json.dumps({"diseases": names}))


class Script:
    """What the server does with each request: `answer(handler, request, number)` sends it."""

    def __init__(self, answer: Callable):
        self.answer = answer
        self.requests: list[dict] = []
        self.headers: list[dict] = []
        self.url = ""


def send(handler, body: bytes, status: int = 200, length: int | None = None) -> None:
    """Sends a whole answer, or one that claims another length."""
    handler.send_response(status)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


@contextlib.contextmanager
def serving(answer: Callable | bytes | list) -> Iterator[Script]:
    """Serves while open: bytes to every request, a list of them in turn, or as a function does."""
    if isinstance(answer, bytes):
        fixed = answer
        script = Script(lambda handler, request, number: send(handler, fixed))
    elif isinstance(answer, list):
        rows = answer
        script = Script(lambda handler, request, number: send(handler, rows[number]))
    else:
        script = Script(answer)
    lock = threading.Lock()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self):
            body = self.rfile.read(int(self.headers["Content-Length"]))
            with lock:
                number = len(script.requests)
                script.requests.append(json.loads(body) | {"path": self.path})
                script.headers.append(dict(self.headers))
            with contextlib.suppress(OSError):
                script.answer(self, script.requests[number], number)

        def log_message(self, *_):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    script.url = f"http://127.0.0.1:{server.server_port}/v1"
    try:
        yield script
    finally:
        server.shutdown()
        server.server_close()
