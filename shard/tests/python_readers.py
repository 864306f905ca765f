"""A dataset, and its exports, as people without Rust read them: the README's own lines, run, against what pyarrow finds.

    pip install -r shard/tests/python_readers.txt && pip install --no-deps mosaicml-streaming==0.13.0
    python shard/tests/python_readers.py target/debug/lcl-shard DATASET
"""

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import types
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = "1"

import datasets
import pyarrow as pa
import pyarrow.parquet as pq
import webdataset
from PIL import Image

PROGRAM, DATASET = (Path(argument).resolve() for argument in sys.argv[1:])
README = Path(__file__).resolve().parents[2] / "README.md"
HEADING = "### From Python"


def import_streaming():
    """Imports `streaming` without torch, torchvision and transformers (5 GB): its package imports them all, for base classes
    and for the process group that there is none of here. What reads shards is its own. Nobody else meets the stand-ins."""
    stand_ins = []

    def module(name, **contents):
        stand_ins.append(name)
        sys.modules[name] = types.ModuleType(name)
        vars(sys.modules[name]).update(contents)
        parent, _, child = name.rpartition(".")
        if parent:
            setattr(sys.modules[parent], child, sys.modules[name])

    def empty(name):
        return type(name, (), {})

    def no(*_):
        return False

    module("torch", Tensor=empty("Tensor"), __version__="0")
    module("torch.cuda", is_available=no)
    module("torch.distributed", is_available=no, is_initialized=no)
    module("torch.utils")
    bases = {name: empty(name) for name in ("Dataset", "IterableDataset", "DataLoader")}
    module("torch.utils.data", get_worker_info=lambda: None, **bases)
    module("torchvision")
    module("torchvision.datasets", VisionDataset=empty("VisionDataset"))
    module("torchvision.transforms")
    module("torchvision.transforms.functional", to_tensor=None)
    module("transformers")
    module("transformers.feature_extraction_utils", BatchFeature=empty("BatchFeature"))
    module("transformers.tokenization_utils_base", BatchEncoding=empty("BatchEncoding"))
    module("transformers.models")
    module("transformers.models.auto")
    module("transformers.models.auto.tokenization_auto", AutoTokenizer=None)
    import streaming  # noqa: F401

    for name in stand_ins:
        del sys.modules[name]


def snippets():
    """The README's Python, by the library that each block is about."""
    section = README.read_text().split(HEADING, 1)[1]
    section = re.split(r"^#+ ", section, maxsplit=1, flags=re.MULTILINE)[0]
    blocks = re.findall(r"^```python\n(.*?)^```", section, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) >= 2, f"{README} has its Python under {HEADING!r}"
    return blocks


def export(to, folder):
    counts = subprocess.run(
        [PROGRAM, "export", DATASET, "--to", to, "--out", folder, "--shard-size", "20KB", "--json"],
        check=True,
        capture_output=True,
    )
    return json.loads(counts.stdout)


def documents():
    """What the dataset holds, by pyarrow alone: shards of the newest manifest, in its order."""
    latest = (DATASET / "_manifests/latest").read_text()
    shards = pq.read_table(DATASET / f"_manifests/{latest}.parquet")["shard"].unique().to_pylist()
    return pa.concat_tables(pq.read_table(DATASET / shard) for shard in shards).to_pylist()


def told(id, texts, images, pictures, tokens):
    """A document in a form that all readers can be compared in."""
    outcomes = [image and image["outcome"] for image in images]
    return {
        "id": id,
        "texts": texts,
        "outcomes": outcomes,
        "pictures": [None if picture is None else bytes(picture) for picture in pictures],
        "tokens": [int(token) for token in tokens],
    }


def rows(found):
    return [told(d["id"], d["texts"], d["images"], d["image_bytes"], d["tokens"]) for d in found]


def same(what, found, expected):
    assert len(found) == len(expected), f"{what}: {len(found)} documents instead of {len(expected)}"
    for number, (one, other) in enumerate(zip(found, expected)):
        assert one == other, f"{what}, document {number}: {str(one)[:300]} instead of {str(other)[:300]}"
    print(f"{what}: {len(found)} documents, {sum(p is not None for d in found for p in d['pictures'])} pictures")


def of_webdataset(folder):
    tars = sorted(str(tar) for tar in folder.glob("docs-*.tar"))
    assert len(tars) > 1
    found = []
    for sample in webdataset.WebDataset(tars, shardshuffle=False, nodesplitter=None):
        document = json.loads(sample["json"])
        pictures = [image and sample.get(image.get("file", "")) for image in document["images"]]
        found.append(told(document["id"], document["texts"], document["images"], pictures, document["tokens"]))
    return found


def of_mds(folder):
    from streaming import LocalDataset, StreamingDataset

    def document(sample):
        pictures = [
            sample["pictures"][image["at"] : image["at"] + image["size"]] if image and "at" in image else None
            for image in sample["images"]
        ]
        return told(sample["id"], sample["texts"], sample["images"], pictures, sample["tokens"])

    local = LocalDataset(str(folder))
    by_number = [document(local[number]) for number in range(len(local))]
    # Remote to local: shards are copied, and their hashes checked on the way.
    with tempfile.TemporaryDirectory() as cache:
        stream = StreamingDataset(
            remote=str(folder), local=cache, batch_size=1, shuffle=False, validate_hash="sha256", num_canonical_nodes=1
        )
        streamed = [document(sample) for sample in stream]
    same("mosaicml-streaming, streamed", streamed, by_number)
    return by_number


def of_obelics(found):
    def document(row):
        images = json.loads(row["metadata"])
        for text, url, image in zip(row["texts"], row["images"], images, strict=True):
            assert (text is None) != (url is None), "exactly one of the two"
            assert (image is None) == (url is None)
        assert json.loads(row["general_metadata"])["id"] == row["id"]
        return told(row["id"], row["texts"], images, row["image_bytes"], row["tokens"])

    return [document(row) for row in found]


def check_snippets(expected):
    """Runs the README's lines in a folder with `dataset` and its exports, and compares what they found."""
    found = {}
    for block in snippets():
        exec(compile(block, str(README), "exec"), found)
    outcomes = {}
    for document in expected:
        for outcome in filter(None, document["outcomes"]):
            outcomes[outcome] = outcomes.get(outcome, 0) + 1
    assert dict(found["outcomes"]) == outcomes, (found["outcomes"], outcomes)
    several = [d for d in expected if sum(p is not None for p in d["pictures"]) >= 2]
    assert found["several"]["id"].to_list() == [d["id"] for d in several]
    column = found["several"]["image_bytes"].to_list()
    assert [list(pictures) for pictures in column] == [d["pictures"] for d in several]
    same("datasets, the dataset", rows(found["documents"]), expected)
    first = next(d for d in expected if any(d["pictures"]))
    pictures = [Image.open(io.BytesIO(p)).size for p in first["pictures"] if p]
    assert [picture.size for picture in found["pictures"]] == pictures
    for name in ("tars", "mds", "obelics"):
        assert found[name]["id"] == expected[0]["id"], name
    print(f"{len(snippets())} blocks of the README run")


def main():
    datasets.disable_progress_bars()
    import_streaming()
    expected = rows(documents())
    missing = sum(o not in (None, "stored") for d in expected for o in d["outcomes"])
    assert missing > 0, "a dataset with images that could not be had shows more"
    with tempfile.TemporaryDirectory() as folder:
        os.environ["HF_HOME"] = f"{folder}/huggingface"
        os.chdir(folder)
        Path("dataset").symlink_to(DATASET)
        for to, out in (("webdataset", "tars"), ("mds", "mds"), ("obelics", "obelics")):
            counts = export(to, Path(out))
            assert counts["documents"] == len(expected) and counts["documents_left_out"] == 0
            assert sum(n for outcome, n in counts["images_by_outcome"].items() if outcome != "stored") == missing
        same("webdataset", of_webdataset(Path("tars")), expected)
        same("mosaicml-streaming", of_mds(Path("mds")), expected)
        files = sorted(Path("obelics").glob("*.parquet"))
        same("obelics, pyarrow", of_obelics(pa.concat_tables(map(pq.read_table, files)).to_pylist()), expected)
        table = datasets.load_dataset("parquet", data_files=[str(file) for file in files], split="train")
        same("obelics, datasets", of_obelics(table), expected)
        check_snippets(expected)


main()
