"""Vast.ai's Python SDK at work; run by the venv's Python, prints what it saw as JSON.

It rents more machines than fit on one page of the vendor's list, shows them, returns all but one of them, and asks for
an offer that does not exist.
"""

from __future__ import annotations

import json
import sys

import requests
from vastai.data.instance import InstanceConfig
from vastai.data.query import Query
from vastai.sync.client import SyncClient

MANY = 27  # a page has 25


def main(url: str, key: str) -> None:
    client = SyncClient(api_key=key, vast_server=url)
    offers = client.search(Query({"rentable": {"eq": True}}), order=[["dph_total", "asc"]], limit=MANY)
    config = {"image": "nvidia/cuda:12.4.1-base-ubuntu22.04", "disk": 20.0, "runtype": "ssh_direc ssh_proxy"}
    for number, offer in enumerate(offers):
        client.create_instance(offer.id, InstanceConfig(label=f"sdk-{number:02}", **config))
    shown = client.show_instances()
    for instance in shown[1:]:
        instance.destroy()
    try:
        client.create_instance(999, InstanceConfig(label="none", **config))
        refused = 0
    except requests.HTTPError as error:
        refused = error.response.status_code
    found = {
        "offers": [{"id": offer.id, "gpu": offer.gpu_name, "price": offer.dph_total} for offer in offers],
        "shown": [{"id": one.id, "label": one.label, "image": one.image_uuid} for one in shown],
        "left": [one.label for one in client.show_instances()],
        "refused": refused,
    }
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
