"""Has clients in Python, written by hand on httpx and http.client, go through a scenario.

    python3 clients.py PROMPT HELD

PROMPT is the URL of an agent that answers at once, HELD that of one whose model holds every
answer. It prints a line for every step of every client and stops at the first difference.
"""

import contextlib
import http.client
import json
import sys
import time
import urllib.parse

import httpx

PATIENCE = 120  # seconds to wait for what is certain
LONG = "hello there, " * 60 + "and that is all"  # an answer with it is compressed


class Refused(Exception):
    """An error of A2A: its code in JSON-RPC or its reason in HTTP+JSON, and its message."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code, self.message = code, message


def lines(pieces):
    """Splits text as str.splitlines does, and with it httpx from 0.24 on: also at U+0085,
    U+2028 and U+2029, at which no line of an event stream ends."""
    rest = ""
    for piece in pieces:
        *whole, rest = (rest + piece + "|").splitlines()
        rest = rest[:-1]
        yield from whole
    if rest:
        yield rest


class Modern:
    """Requests of httpx, which takes answers in gzip by default."""

    def __init__(self, url, version="HTTP/1.1"):
        h2 = version == "HTTP/2"
        self.http = httpx.Client(base_url=url, http1=not h2, http2=h2, timeout=PATIENCE)
        self.version, self.compressed = version, 0

    def ask(self, method, path, body, headers):
        answer = self.http.request(method, path, json=body, headers=headers)
        assert answer.http_version == self.version, answer.http_version
        self.compressed += path not in (Client.card, Old.card) and answer.headers.get("content-encoding") == "gzip"
        return answer.status_code, answer.text

    @contextlib.contextmanager
    def stream(self, method, path, body, headers):
        with self.http.stream(method, path, json=body, headers=headers) as answer:
            assert answer.http_version == self.version, answer.http_version
            assert "content-encoding" not in answer.headers, answer.headers
            yield answer.status_code, answer.headers.get("content-type", ""), lines(answer.iter_text())

    def end(self):
        assert self.compressed, "no answer was compressed"


class Former:
    """Requests of HTTP/1.0: an answer has a length, or it ends with its connection."""

    class Connection(http.client.HTTPConnection):
        _http_vsn, _http_vsn_str = 10, "HTTP/1.0"

    def __init__(self, url):
        self.host = urllib.parse.urlsplit(url).netloc

    def open(self, method, path, body, headers):
        connection = self.Connection(self.host, timeout=PATIENCE)
        body = None if body is None else json.dumps(body)
        connection.request(method, path, body, {"Host": self.host, "Content-Type": "application/json", **headers})
        answer = connection.getresponse()
        assert answer.version == 10, answer.version
        assert answer.getheader("Transfer-Encoding") is None, answer.headers
        return answer

    def ask(self, method, path, body, headers):
        with self.open(method, path, body, headers) as answer:
            text = answer.read()
            assert answer.getheader("Content-Length") == str(len(text)), answer.headers
            return answer.status, text.decode()

    @contextlib.contextmanager
    def stream(self, method, path, body, headers):
        with self.open(method, path, body, headers) as answer:
            yield answer.status, answer.getheader("Content-Type"), lines(line.decode() for line in answer)

    def end(self):
        pass


class Client:
    """What both bindings have in common: tasks, and the events of a stream."""

    headers = {"A2A-Version": "1.0"}
    card = "/.well-known/agent-card.json"

    def __init__(self, http):
        self.http = http
        status, text = http.ask("GET", self.card, None, {})
        assert status == 200, text
        self.base = urllib.parse.urlsplit(self.address(json.loads(text))).path

    def address(self, card):
        ways = {(way["protocolBinding"], way["protocolVersion"]): way["url"] for way in card["supportedInterfaces"]}
        return ways[self.binding, "1.0"]

    def message(self, id, text, now=False):
        m = {"messageId": id, "role": "ROLE_USER", "parts": [{"text": text}]}
        return {"message": m, "configuration": {"returnImmediately": now}}

    def send(self, *message, **more):
        return self.call("SendMessage", "POST", "/message:send", self.message(*message, **more))["task"]

    def get(self, id):
        return self.call("GetTask", "GET", f"/tasks/{id}", {"id": id})

    def cancel(self, id):
        return self.call("CancelTask", "POST", f"/tasks/{id}:cancel", {"id": id})

    def stream(self, *message):
        return self.events("SendStreamingMessage", "POST", "/message:stream", self.message(*message))

    def subscribe(self, id):
        return self.events("SubscribeToTask", "GET", f"/tasks/{id}:subscribe", {"id": id})

    def read(self, kind, lines):
        """Reads a stream of events: anything else under 200 is an error, as httpx-sse has it."""
        assert kind.startswith("text/event-stream"), f"the stream is {kind}"
        data = []
        for line in lines:
            if line.startswith("data:"):
                data.append(line[5:].removeprefix(" "))
            elif not line and data:
                yield json.loads("\n".join(data))
                data = []
            else:
                assert not line or line.startswith(":"), f"the stream has the line {line!r}"
        assert not data, "the stream ends within an event"


class Rpc(Client):
    """JSON-RPC. Other statuses than 200 have no reason for clients in Python, and a refused stream
    is a stream of the error."""

    binding = "JSONRPC"

    def request(self, method, params):
        return {"jsonrpc": "2.0", "id": "1", "method": method, "params": params}

    def result(self, answer):
        if "error" in answer:
            raise Refused(answer["error"]["code"], answer["error"]["message"])
        return answer["result"]

    def call(self, method, _verb, _path, params):
        status, text = self.http.ask("POST", self.base or "/", self.request(method, params), self.headers)
        assert status == 200, f"the answer has the status {status}: {text}"
        return self.result(json.loads(text))

    def events(self, method, _verb, _path, params):
        with self.http.stream("POST", self.base or "/", self.request(method, params), self.headers) as (status, kind, lines):
            assert status == 200, f"the stream has the status {status}"
            for answer in self.read(kind, lines):
                yield self.result(answer)


class Rest(Client):
    """HTTP+JSON. A refused stream has the status and the body of any error."""

    binding = "HTTP+JSON"

    def body(self, verb, params):
        return None if verb == "GET" else params

    def result(self, status, text):
        if status != 200:
            error = json.loads(text)["error"]
            raise Refused(error["details"][0]["reason"], error["message"])
        return json.loads(text)

    def call(self, _method, verb, path, params):
        return self.result(*self.http.ask(verb, self.base + path, self.body(verb, params), self.headers))

    def events(self, _method, verb, path, params):
        with self.http.stream(verb, self.base + path, self.body(verb, params), self.headers) as (status, kind, lines):
            if status != 200:
                self.result(status, "\n".join(lines))
            yield from self.read(kind, lines)


class Old(Rpc):
    """JSON-RPC of 0.3, in the form of 1.0 for the scenario."""

    headers = {}
    card = "/.well-known/agent.json"
    names = {"SendMessage": "message/send", "GetTask": "tasks/get", "CancelTask": "tasks/cancel",
             "SendStreamingMessage": "message/stream", "SubscribeToTask": "tasks/resubscribe"}
    kinds = {"task": "task", "status-update": "statusUpdate", "artifact-update": "artifactUpdate"}

    def address(self, card):
        return card["url"]

    def message(self, id, text, now=False):
        m = {"kind": "message", "messageId": id, "role": "user", "parts": [{"kind": "text", "text": text}]}
        return {"message": m, "configuration": {"blocking": not now}}

    def request(self, method, params):
        return super().request(self.names[method], params)

    def call(self, method, *request):
        result = super().call(method, *request)
        return {"task": result} if method == "SendMessage" else result

    def events(self, *request):
        for event in super().events(*request):
            yield {self.kinds[event["kind"]]: event}


def state(task):
    return task["status"]["state"].removeprefix("TASK_STATE_").lower()


def said(artifacts):
    return "".join(part.get("text", "") for a in artifacts for part in a["parts"])


def refused(codes, attempt):
    try:
        got = attempt()
    except Refused as error:
        assert error.code in codes, error
        return error.message
    raise AssertionError(f"nothing was refused: {got}")


def send_and_wait(client, _held):
    task = client.send(f"{client.name} send", LONG)
    assert state(task) == "completed" and f"You said: {LONG}" in said(task["artifacts"]), task
    assert client.send(f"{client.name} send", LONG) == task
    refused((-32602, "INVALID_PARAMS"), lambda: client.send(f"{client.name} send", "something else"))


def send_and_poll(client, _held):
    task = client.send(f"{client.name} poll", "hello there", now=True)
    end = time.monotonic() + PATIENCE
    while state(task) in ("submitted", "working"):
        assert time.monotonic() < end, task
        time.sleep(0.01)  # that is what polling is
        task = client.get(task["id"])
    assert state(task) == "completed" and "You said: hello there" in said(task["artifacts"]), task


def stream(client, _held):
    """Every character comes, also those at which a line ends in Python and in no event stream."""
    text = "one\u2028two\u2029three\u0085four ünd 🎈"
    events = list(client.stream(f"{client.name} stream", text))
    assert "task" in events[0] and state(events[-1]["statusUpdate"]) == "completed", events
    came = said(e["artifactUpdate"]["artifact"] for e in events if "artifactUpdate" in e)
    task = client.get(events[0]["task"]["id"])
    assert came == said(task["artifacts"]) and text in came, (came, task)


def subscribe_and_cancel(client, held):
    task = held.send(f"{client.name} cancel", "hello", now=True)
    events = held.subscribe(task["id"])
    first = next(events)["task"]
    assert first["id"] == task["id"] and state(first) in ("submitted", "working"), first
    assert state(held.cancel(task["id"])) == "canceled"
    assert state(list(events)[-1]["statusUpdate"]) == "canceled"
    refused((-32002, "TASK_NOT_CANCELABLE"), lambda: held.cancel(task["id"]))


def a_refused_stream(client, _held):
    task = client.send(f"{client.name} send", LONG)
    message = refused((-32004, "UNSUPPORTED_OPERATION"), lambda: list(client.subscribe(task["id"])))
    assert "the task has ended; read it with GetTask" in message, message
    refused((-32001, "TASK_NOT_FOUND"), lambda: list(client.subscribe("nosuchtask")))


STEPS = [send_and_wait, send_and_poll, stream, subscribe_and_cancel, a_refused_stream]

CLIENTS = {
    "1.0 JSON-RPC": lambda url: Rpc(Modern(url)),
    "1.0 HTTP+JSON": lambda url: Rest(Modern(url)),
    "0.3 JSON-RPC": lambda url: Old(Modern(url)),
    "1.0 JSON-RPC over HTTP/2": lambda url: Rpc(Modern(url, "HTTP/2")),
    "1.0 JSON-RPC over HTTP/1.0": lambda url: Rpc(Former(url)),
    "1.0 HTTP+JSON over HTTP/1.0": lambda url: Rest(Former(url)),
}


def main(prompt, held):
    for name, connect in CLIENTS.items():
        client, waiting = connect(prompt), connect(held)
        client.name = name
        for step in STEPS:
            try:
                step(client, waiting)
            except BaseException:
                print(f"at {name}: {step.__name__}", file=sys.stderr)
                raise
            print(f"ok {name}: {step.__name__.replace('_', ' ')}")
        client.http.end()


main(*sys.argv[1:])
