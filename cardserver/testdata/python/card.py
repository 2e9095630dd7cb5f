"""Finds an agent by its card and checks the card with PyJWT, a third library of JOSE.

    python3 card.py URL KEYS

URL is the address of the agent, KEYS a file with the key set that its operator gave. It prints a line for each
signature that covers the whole card.
"""

import base64
import json
import sys
import urllib.request

import jwt


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


url, path = sys.argv[1:]
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
