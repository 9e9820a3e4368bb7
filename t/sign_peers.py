# Judges webhooks by the reference library: a line of JSON in, {secret, body,
# headers} or {secret, id, time, body} to sign; "ok", the signature or the
# error out.

import base64
import json
import sys
from datetime import datetime, timezone

from standardwebhooks import Webhook

for line in sys.stdin:
    ask = json.loads(line)
    body = base64.b64decode(ask["body"]).decode()
    try:
        judge = Webhook(ask["secret"])
        if "time" in ask:
            when = datetime.fromtimestamp(ask["time"], tz=timezone.utc)
            print(judge.sign(ask["id"], when, body), flush=True)
        else:
            judge.verify(body, ask["headers"])
            print("ok", flush=True)
    except Exception as error:
        print(type(error).__name__, error, flush=True)
