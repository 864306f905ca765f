"""Loaders side by side on the same pictures and captions, shuffled: decoded and resized to 224, and as they are stored.

    cargo build --release -p lcl-shard --no-default-features --features client,serve --example stream_rate
    cargo build --release -p lcl-ingest
    python3 -m venv bench && bench/bin/pip install webdataset==1.0.2 mosaicml-streaming==0.13.0 litdata==0.2.76 \
        "numpy<2.2" pillow torch
    bench/bin/python shard/benches/versus_loaders.py target/release FOLDER

Pictures are drawn (noise with a natural spectrum, JPEG quality 90), captions are made up. Everybody decodes, cuts out the
square in the middle, resizes it, and goes over the data as often; the page cache is warm. Every measurement is a process of
its own, three times, of which the median by samples a second is shown.
Peers, as shipped: PIL, bilinear, a shuffled DataLoader; one epoch, then the timed ones. First batch: from making the loader,
its library imported before. CPU seconds and peak memory are of the process and (of the largest of) its children.
Ours: defaults (bicubic, antialiased; SHA-256 of every shard), all documents, a centre crop; timed after ten batches, so that
none was made ahead; CPU seconds and images are of the whole process, its start included.
`flight` is two processes, a server and a client; `bare` decodes and resizes with our code and does nothing else.
"""

import io
import json
import os
import resource
import subprocess
import sys
import tarfile
import time

if len(sys.argv) < 3:
    sys.exit(f"{sys.argv[0]} BINARIES FOLDER: where the release builds are, and where pictures are made")
BIN, ROOT = sys.argv[1:3]
SIZES = {"500x375": (500, 375, 1500), "1280x960": (1280, 960, 400)}
EDGE = 224
BATCH = 64
REPEATS = 3
PEERS = ("wds", "mds", "lit")
# Times over the data: decoded, and as stored.
EPOCHS = {1: 3, 0: 10}


def picture(seed, width, height):
    """1/f noise in colour, as natural pictures have, as a JPEG."""
    import numpy as np
    from PIL import Image

    rng = np.random.default_rng(seed)
    fy, fx = np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None]
    falloff = 1 / np.maximum(np.hypot(fy, fx), 1 / max(width, height)) ** 1.1
    channels = []
    for _ in range(3):
        phase = np.exp(2j * np.pi * rng.random((height, fx.shape[1])))
        plane = np.fft.irfft2(falloff * phase, s=(height, width))
        channels.append(127 + 45 * plane / plane.std())
    mixed = np.stack(channels, -1)
    mixed = 0.7 * mixed.mean(-1, keepdims=True) + 0.3 * mixed
    out = io.BytesIO()
    Image.fromarray(mixed.clip(0, 255).astype("uint8")).save(out, "JPEG", quality=90)
    return out.getvalue()


def prepare(name):
    """The same pictures in every format; made once."""
    width, height, count = SIZES[name]
    folder = f"{ROOT}/{name}"
    if os.path.exists(f"{folder}/done"):
        return folder
    os.makedirs(f"{folder}/images", exist_ok=True)
    samples = []
    for index in range(count):
        jpeg = picture(index, width, height)
        caption = f"picture {index} of a sequence of {count} pictures, none of which shows anything ."
        open(f"{folder}/images/{index:06}.jpg", "wb").write(jpeg)
        samples.append((f"{index:06}", jpeg, caption))
    with open(f"{folder}/documents.jsonl", "w") as out:
        for key, _, caption in samples:
            image = {"image_name": f"{key}.jpg", "matched_text_index": 0, "matched_sim": 0.3}
            out.write(json.dumps({"url": key, "text_list": [caption], "image_info": [image]}) + "\n")
    subprocess.run(
        [f"{BIN}/lcl-ingest", "mmc4", f"{folder}/documents.jsonl", "--images-dir", f"{folder}/images",
         "--out", f"{folder}/lcl", "--image-size", "4096"],
        check=True, stdout=subprocess.DEVNULL,
    )
    for shard in range(4):
        with tarfile.open(f"{folder}/wds-{shard:04}.tar", "w") as tar:
            for key, jpeg, caption in samples[shard::4]:
                for suffix, data in (("jpg", jpeg), ("txt", caption.encode())):
                    info = tarfile.TarInfo(f"{key}.{suffix}")
                    info.size = len(data)
                    tar.addfile(info, io.BytesIO(data))
    from streaming import MDSWriter

    with MDSWriter(out=f"{folder}/mds", columns={"jpg": "bytes", "txt": "str"}) as out:
        for _, jpeg, caption in samples:
            out.write({"jpg": jpeg, "txt": caption})
    import litdata

    litdata.optimize(fn=lit_sample, inputs=[(f"{folder}/images/{key}.jpg", caption) for key, _, caption in samples],
                     output_dir=f"{folder}/lit", chunk_bytes="64MB", num_workers=1)
    open(f"{folder}/done", "w").close()
    return folder


def lit_sample(item):
    path, caption = item
    return {"jpg": open(path, "rb").read(), "txt": caption}


def decoded(jpeg):
    import numpy as np
    from PIL import Image

    picture = Image.open(io.BytesIO(jpeg)).convert("RGB")
    width, height = picture.size
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    square = (left, top, left + side, top + side)
    return np.asarray(picture.resize((EDGE, EDGE), Image.BILINEAR, box=square))


def whole(sample, decode):
    return (decoded(sample["jpg"]) if decode else len(sample["jpg"])), sample["txt"]


class Mapped:
    """Makes a dataset's samples what the others' are."""

    def __new__(cls, base, decode):
        class Dataset(base):
            def __getitem__(self, index):
                return whole(super().__getitem__(index), decode)

        return Dataset


def collate(samples):
    import numpy as np

    first = samples[0][0]
    images = np.stack([s[0] for s in samples]) if not isinstance(first, int) else [s[0] for s in samples]
    return images, [s[1] for s in samples]


def loader(kind, folder, workers, decode):
    if kind == "wds":
        import webdataset as wds
        from torch.utils.data import DataLoader

        def sample(parts):
            return whole({"jpg": parts[0], "txt": parts[1].decode()}, decode)

        data = (
            wds.WebDataset(f"{folder}/wds-{{0000..0003}}.tar", shardshuffle=4)
            .shuffle(500).to_tuple("jpg", "txt").map(sample)
        )
        return DataLoader(data, batch_size=BATCH, num_workers=workers, collate_fn=collate)
    if kind == "mds":
        import streaming

        data = Mapped(streaming.StreamingDataset, decode)(local=f"{folder}/mds", shuffle=True, batch_size=BATCH)
        return streaming.StreamingDataLoader(data, batch_size=BATCH, num_workers=workers, collate_fn=collate)
    import litdata

    data = Mapped(litdata.StreamingDataset, decode)(f"{folder}/lit", shuffle=True)
    return litdata.StreamingDataLoader(data, batch_size=BATCH, num_workers=workers, collate_fn=collate)


def cpu():
    return sum(
        use.ru_utime + use.ru_stime
        for use in (resource.getrusage(resource.RUSAGE_SELF), resource.getrusage(resource.RUSAGE_CHILDREN))
    )


def measure_peer(kind, folder, workers, decode, count):
    import torch

    torch.set_num_threads(1)
    __import__({"wds": "webdataset", "mds": "streaming", "lit": "litdata"}[kind])
    begun = time.time()
    batches = loader(kind, folder, workers, decode)
    iterator = iter(batches)
    next(iterator)
    first = time.time() - begun
    for _ in iterator:
        pass
    before, begun, samples = cpu(), time.time(), 0
    for _ in range(EPOCHS[decode]):
        for images, _ in batches:
            samples += len(images)
    seconds = time.time() - begun
    del iterator, batches
    spent = cpu() - before
    peak = sum(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    print(json.dumps({
        "samples_per_s": samples / seconds, "per_cpu_s": samples / spent, "first_batch_s": first, "peak_mb": peak / 1e3,
    }))


def resume_peer(kind, folder, count):
    """First batch of a new loader that goes on at 90 %; WebDataset has no such thing."""
    __import__({"mds": "streaming", "lit": "litdata"}[kind])
    first = loader(kind, folder, 0, 1)
    batches = iter(first)
    for _ in range(9 * count // 10 // BATCH):
        next(batches)
    state = first.state_dict()
    del batches, first
    begun = time.time()
    second = loader(kind, folder, 0, 1)
    second.load_state_dict(state)
    next(iter(second))
    print(json.dumps({"resumed_first_batch_s": time.time() - begun}))


def run_peer(*arguments, what="--peer"):
    done = subprocess.run([sys.executable, __file__, BIN, ROOT, what, *map(str, arguments)],
                          capture_output=True, text=True)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        return {"failed": done.stderr.strip().splitlines()[-1:]}
    return json.loads(lines[-1])


def run_ours(folder, threads, count, *further):
    """The stream as a process; its own time, CPU seconds of the whole process."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [f"{BIN}/examples/stream_rate", f"{folder}/lcl", "--threads", str(threads), "--images", str(count),
         "--rows", "2", *further],
        check=True, capture_output=True, text=True,
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = json.loads(done.stdout)
    if "images" in found:
        found["samples_per_s"] = found["images_per_s"]
        found["per_cpu_s"] = found["all_images"] / (
            after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        )
    return found


def run_flight(folder, threads, count, *further):
    """A server and a client, each a process; CPU seconds of both."""
    server = subprocess.Popen(
        [f"{BIN}/examples/stream_rate", f"{folder}/lcl", "--threads", str(threads), "--rows", "2",
         "--serve", "127.0.0.1:0"],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )
    url = server.stdout.readline().strip()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    found = run_ours(folder, threads, count, "--remote", url, *further)
    server.stdin.close()
    server.wait()
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return found | {"per_cpu_s": found["all_images"] / spent}


def median(measure):
    """The middle of some runs, by samples a second."""
    runs = [measure() for _ in range(REPEATS)]
    failed = [run for run in runs if "failed" in run]
    return failed[0] if failed else sorted(runs, key=lambda run: run["samples_per_s"])[REPEATS // 2]


def measure_all(folder, workers, decode, count):
    """Everybody, with as many workers; ours has that many threads, one at least."""
    row = {kind: median(lambda: run_peer(kind, folder, workers, decode, count)) for kind in PEERS}
    threads, form = max(workers, 1), () if decode else ("--encoded",)
    # The process's start is in its CPU seconds: several epochs.
    many = EPOCHS[decode] * count
    row["ours"] = median(lambda: run_ours(folder, threads, many, *form))
    row["flight"] = median(lambda: run_flight(folder, threads, many, *form))
    if decode:
        row["bare"] = median(lambda: run_ours(folder, threads, many, "--bare"))
    return row


def main():
    for name, (_, _, count) in SIZES.items():
        folder = prepare(name)
        for decode in (1, 0):
            for workers in (0, 2):
                title = f"{name}, {'decoded' if decode else 'as stored'}, {workers or 'no'} workers"
                show(title, measure_all(folder, workers, decode, count))
        resumed = [
            run_ours(folder, 1, 1, "--resume-after", str(share * count // 100))["resumed_first_batch_s"]
            for share in (10, 90)
        ]
        print(f"{name}: first batch after resuming at 10 %: {resumed[0]:.3f} s, at 90 %: {resumed[1]:.3f} s")
        for kind in ("mds", "lit"):
            found = run_peer(kind, folder, count, what="--resume")
            print(f"  {kind} at 90 %: {found.get('resumed_first_batch_s', found)}")
        print(flush=True)


def show(title, row):
    print(title)
    best = {
        unit: max((row[kind].get(unit, 0) for kind in PEERS), default=0) or float("nan")
        for unit in ("samples_per_s", "per_cpu_s")
    }
    for kind, r in row.items():
        if "failed" in r:
            print(f"  {kind:6} failed: {r['failed']}")
            continue
        first = f"{r['first_batch_s']:.2f} s" if "first_batch_s" in r else ""
        peak = f"{r['peak_mb']:.0f} MB" if "peak_mb" in r else ""
        print(
            f"  {kind:6} {r['samples_per_s']:7.0f}/s ({r['samples_per_s'] / best['samples_per_s']:.2f} x best peer)"
            f" {r['per_cpu_s']:7.0f} per CPU-s ({r['per_cpu_s'] / best['per_cpu_s']:.2f} x)  first {first:8} {peak}"
        )
    print(flush=True)


if __name__ == "__main__":
    if "--peer" in sys.argv:
        kind, folder, workers, decode, count = sys.argv[sys.argv.index("--peer") + 1 :]
        measure_peer(kind, folder, int(workers), int(decode), int(count))
    elif "--resume" in sys.argv:
        kind, folder, count = sys.argv[sys.argv.index("--resume") + 1 :]
        resume_peer(kind, folder, int(count))
    else:
        main()
