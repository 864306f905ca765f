"""A stream read by pyarrow alone: shapes, contents, and going on from a position.

    pip install pyarrow numpy
    python shard/tests/python_client.py target/debug/lcl-shard DATASET
"""

import json
import subprocess
import sys
import tempfile

import numpy as np
import pyarrow.flight as flight

PROGRAM, DATASET = sys.argv[1:]
SETTINGS = {"rows": 4, "context": 128, "edge": 32, "slots": 4, "seed": 3}


def serve():
    """Starts a server on a free port; the process and its address."""
    config = tempfile.NamedTemporaryFile("w", suffix=".toml")
    config.write(f"[streams.train]\ndataset = {json.dumps(DATASET)}\n")
    config.flush()
    process = subprocess.Popen(
        [PROGRAM, "serve", config.name, "--listen", "127.0.0.1:0"], stderr=subprocess.PIPE, text=True
    )
    said = process.stderr.readline()
    assert "grpc://" in said, said
    config.close()
    return process, said.split()[-1]


def batches(address, position=None):
    """Arrays of one batch after the other, and the position behind each."""
    client = flight.connect(address)
    ask = {"stream": "train", "settings": SETTINGS, "position": position}
    info = client.get_flight_info(flight.FlightDescriptor.for_command(json.dumps(ask)))
    for chunk in client.do_get(info.endpoints[0].ticket):
        batch = chunk.data
        rows = batch.num_rows
        ids = {
            name: batch.column(name).flatten().to_numpy().reshape(rows, -1)
            for name in ("tokens", "segments", "positions")
        }
        images = batch.column("images").flatten().to_numpy_ndarray()  # [N, S, S, 3]
        slots = batch.column("first_slots").to_pylist()
        behind = json.loads(chunk.app_metadata.to_pybytes())
        yield ids, images, slots, behind["position"]


def check(ids, images, slots):
    rows, context = ids["tokens"].shape
    assert (rows, context) == (SETTINGS["rows"], SETTINGS["context"])
    edge = SETTINGS["edge"]
    assert images.dtype == np.uint8 and images.shape[1:] == (edge, edge, 3), images.shape
    assert images.std() > 0, "pictures are not plain"
    assert sum(map(len, slots)) == len(images) > 0
    for row, places in enumerate(slots):
        for place in places:
            filled = ids["tokens"][row, place : place + SETTINGS["slots"]]
            assert (filled == filled[0]).all(), "an image's slots are all the same id"
            assert ids["segments"][row, place] > 0


def main():
    process, address = serve()
    try:
        seen = []
        for batch in batches(address):
            check(*batch[:3])
            seen.append(batch)
            if len(seen) == 6:
                break
        resumed = batches(address, seen[2][3])
        for expected, found in zip(seen[3:], resumed):
            assert all((expected[0][name] == found[0][name]).all() for name in expected[0])
            assert (expected[1] == found[1]).all()
            assert expected[2:] == found[2:]
    finally:
        process.terminate()
        assert process.wait(30) == 0, "a server that is asked to end exits with 0"
    print("6 passed, 0 failed")


main()
