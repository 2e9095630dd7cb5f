import base64
import email.message
import json
import sys

import verify_v1

verdicts = []
for d in json.load(sys.stdin):
    headers = email.message.Message()  # what http.server gives its handlers
    for name, value in d["Headers"].items():
        headers[name.title()] = value
    verdicts.append(verify_v1.verify_v1(d["Secrets"], headers, base64.b64decode(d["Body"]), d["Now"]))
json.dump(verdicts, sys.stdout)
