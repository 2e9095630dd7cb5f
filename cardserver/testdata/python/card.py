"""Finds an agent by its card, checks the card with PyJWT, a third library of JOSE, and asks the agent.

    python3 card.py URL KEYS [FILE]

URL is the address of the agent, KEYS a file with the key set that its operator gave, and FILE a card that was given
instead of the served one. It prints a line for each signature that covers the whole card, and the state of the task.
"""

import base64
import json
import sys
import urllib.request
import uuid

import jwt


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


url, path, *given = sys.argv[1:]
if given:
    with open(given[0], encoding="utf-8") as file:
        card = json.load(file)
else:
    with urllib.request.urlopen(url + "/.well-known/agent-card.json") as answer:
        card = json.load(answer)
with open(path, encoding="utf-8") as file:
    keys = {key["kid"]: jwt.PyJWK(key) for key in json.load(file)["keys"]}

signatures = card.pop("signatures")
payload = json.dumps(card, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()
for signature in signatures:
    header = json.loads(unpadded(signature["protected"]))
    key = keys[header["kid"]]
    signed = signature["protected"].encode() + b"." + base64.urlsafe_b64encode(payload).rstrip(b"=")
    if key.Algorithm.verify(signed, key.key, unpadded(signature["signature"])):
        print("verified", header["kid"])

way = next(i for i in card["supportedInterfaces"] if (i["protocolBinding"], i["protocolVersion"]) == ("HTTP+JSON", "1.0"))
message = {"message": {"messageId": str(uuid.uuid4()), "role": "ROLE_USER", "parts": [{"text": "hello"}]}}
request = urllib.request.Request(way["url"].rstrip("/") + "/message:send", json.dumps(message).encode(), {"Content-Type": "application/json"})
with urllib.request.urlopen(request) as answer:
    print("answered by a task" if "task" in json.load(answer) else "answered by a message")
