"""Makes a workspace with one of everything, prints its ID, and writes all IDs to a file.

python world.py <url of /graphql> <file>; the operator's key is in ANGARIUM_ADMIN_KEY.
"""

import json
import os
import sys
import time
import urllib.request
from urllib.error import URLError

URL, FILE = sys.argv[1:]
START_SECONDS_MAX = 60


def call(query, workspace=None, **variables):
    headers = {"content-type": "application/json", "x-api-key": os.environ["ANGARIUM_ADMIN_KEY"]}
    if workspace:
        headers["angarium-workspace"] = workspace
    body = json.dumps({"query": query, "variables": variables}).encode()
    with urllib.request.urlopen(urllib.request.Request(URL, body, headers), timeout=10) as response:
        answer = json.load(response)
    assert "errors" not in answer, answer
    return answer["data"]


def wait_for_the_server():
    deadline = time.monotonic() + START_SECONDS_MAX
    while True:
        try:
            return call("{ serverInfo { version } }")
        except (URLError, ConnectionError):
            assert time.monotonic() < deadline, "the server does not answer"
            time.sleep(0.1)


wait_for_the_server()
made = call('mutation { workspaceCreate(input: { name: "Fuzzed" }) { workspace { id } } }')
workspace = made["workspaceCreate"]["workspace"]["id"]
for name in ["invoice.paid", "sms.outbound"]:
    call("mutation ($n: EventTypeName!) { eventTypeCreate(input: { name: $n, samplePayload: { total: 1 } }) { userErrors { code } } }", n=name)
made = call(
    """mutation {
      apiKeyCreate(input: { name: "k", scopes: [EVENT_READ] }) { apiKey { id } }
      webhookSubscriptionCreate(input: { eventTypes: ["*"], endpoint: { url: "http://127.0.0.1:9/" } }) {
        webhookSubscription { id endpoint { id } } }
      eventPublish(input: { eventType: "invoice.paid", payload: { total: 2 } }) { event { id deliveries { nodes { id } } } }
    }""",
    workspace,
)
subscription = made["webhookSubscriptionCreate"]["webhookSubscription"]
event = made["eventPublish"]["event"]
ids = {
    "ws": [workspace],
    "key": [made["apiKeyCreate"]["apiKey"]["id"]],
    "sub": [subscription["id"]],
    "ep": [subscription["endpoint"]["id"]],
    "evt": [event["id"]],
    "dlv": [one["id"] for one in event["deliveries"]["nodes"]],
}
json.dump(ids, open(FILE, "w"))
print(workspace)
