import base64
import email.message
import importlib
import json
import sys

sets = {}
verdicts = []
for d in json.load(sys.stdin):
    kind, body = d["Kind"], base64.b64decode(d["Body"])
    module = importlib.import_module("verify_" + kind)
    headers = email.message.Message()  # what http.server gives its handlers
    for name, value in d["Headers"].items():
        headers[name.title()] = value
    if kind == "v1":
        verdicts.append(module.verify_v1(d["Secrets"], headers, body, d["Now"]))
    elif kind == "v1a":
        verdicts.append(module.verify_v1a(d["PublicKeys"], headers, body, d["Now"]))
    elif kind == "token":
        if d["Issuer"] not in sets:
            sets[d["Issuer"]] = module.fetch_keys(d["Issuer"])
        verdicts.append(module.verify_token(sets[d["Issuer"]], d["Issuer"], d["Audience"], d["Subjects"] or [], headers, d["Now"]))
    else:
        raise ValueError(f"there is no kind {kind}")
json.dump(verdicts, sys.stdout)
