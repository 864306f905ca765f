"""lcl-ingest beside img2dataset: the same photographs from the same server on loopback, to the same size and quality.

    pip install img2dataset==1.47.0 pillow numpy
    python ingest/benches/versus_img2dataset.py target/release/lcl-ingest --size 1024x768 --images 2000
    python ingest/benches/versus_img2dataset.py target/release/lcl-ingest --size 4000x3000 --images 200

Both read a list of URLs, fetch, decode, reduce the short side to 256 pixels, encode as JPEG of quality 95 and write shards:
img2dataset webdataset tars, with one process a core and 32 threads each, lcl-ingest Parquet, with its hashes, tokens and
request log. Later releases of img2dataset build a TLS context for every request and are 30 times slower; 1.47.0 does not.

Photographs are made here: smooth shapes and noise of several scales, 4:2:0, quality 85, which comes to the bytes a pixel of
camera pictures. The server is one process that answers from memory; its CPU time is not counted. Each side runs in turn,
and medians of the rounds are compared. Memory is the largest sum of resident pages of a side's processes, 20 times a second.
"""

import argparse
import io
import json
import multiprocessing
import os
import pathlib
import shutil
import socket
import socketserver
import statistics
import subprocess
import sys
import tempfile
import threading
import time

DISTINCT = 24


def photograph(seed, width, height):
    import numpy
    from PIL import Image

    draws = numpy.random.default_rng(seed)
    picture = numpy.zeros((height, width, 3), numpy.float32)
    for scale, strength in ((4, 90), (16, 40), (64, 20), (256, 10)):
        coarse = draws.normal(0, 1, (scale, scale, 3)).clip(-2, 2)
        levels = Image.fromarray(((coarse + 2) * 63).astype("uint8")).resize((width, height), Image.BICUBIC)
        picture += (numpy.asarray(levels, numpy.float32) - 126) / 63 * strength
    picture += draws.normal(0, 4, (height, width, 1))
    file = io.BytesIO()
    Image.fromarray((picture + 128).clip(0, 255).astype("uint8")).save(file, "JPEG", quality=85)
    return file.getvalue()


class Answer(socketserver.BaseRequestHandler):
    """HTTP/1.1 with kept connections, and nothing that takes time."""

    def handle(self):
        self.request.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        pending = b""
        while True:
            while b"\r\n\r\n" not in pending:
                received = self.request.recv(65536)
                if not received:
                    return
                pending += received
            head, pending = pending.split(b"\r\n\r\n", 1)
            path = head.split(b" ", 2)[1]
            if path.startswith(b"/photo/"):
                body = self.server.bodies[int(path.split(b"/")[2]) % DISTINCT]
                self.request.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            else:
                self.request.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True
    request_queue_size = 1024


def serve(bodies, port):
    with Server(("127.0.0.1", 0), Answer) as server:
        server.bodies = bodies
        port.value = server.server_address[1]
        server.serve_forever()


def children(root):
    """`root` and all processes that it began."""
    parents = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                stat = pathlib.Path(f"/proc/{entry}/stat").read_text()
            except OSError:
                continue
            parents[int(entry)] = int(stat.rsplit(")", 1)[1].split()[1])
    found = {root}
    while True:
        more = {process for process, parent in parents.items() if parent in found} - found
        if not more:
            return found
        found |= more


def resident(processes):
    pages = 0
    for process in processes:
        try:
            pages += int(pathlib.Path(f"/proc/{process}/statm").read_text().split()[1])
        except OSError:
            pass
    return pages * os.sysconf("SC_PAGE_SIZE")


def timed(command, log):
    """Seconds, CPU seconds and peak memory of a command and what it begins."""
    before = os.times()
    began = time.monotonic()
    process = subprocess.Popen(command, stdout=log, stderr=log)
    peak = 0
    while process.poll() is None:
        peak = max(peak, resident(children(process.pid)))
        time.sleep(0.05)
    seconds = time.monotonic() - began
    after = os.times()
    if process.returncode != 0:
        sys.exit(f"{command[0]} failed, see {log.name}")
    cpu = after.children_user + after.children_system - before.children_user - before.children_system
    return seconds, cpu, peak


def ours(arguments, urls, folder, log):
    lines = folder / "documents.jsonl"
    with lines.open("w") as file:
        for start in range(0, len(urls), 4):
            images = [
                {"raw_url": url, "matched_text_index": index, "matched_sim": 0.3}
                for index, url in enumerate(urls[start : start + 4])
            ]
            document = {"url": "http://a.example/", "text_list": ["A photograph."] * len(images), "image_info": images}
            document["text_list"] = [f"A photograph, number {start + index}." for index in range(len(images))]
            file.write(json.dumps(document) + "\n")
    command = [arguments.binary, "mmc4", lines, "--out", folder / "ours", "--contact", "bench@localhost"]
    command += ["--allow-private-addresses", "--image-size", "256", "--set", "jpeg_quality=95", "--set", "progress=off"]
    command += ["--set", "fetch.per_domain=64"]
    return timed([str(part) for part in command], log)


def theirs(arguments, urls, folder, log):
    listed = folder / "urls.txt"
    listed.write_text("".join(url + "\n" for url in urls))
    command = [arguments.img2dataset, "--url_list", listed, "--output_folder", folder / "theirs", "--output_format", "webdataset"]
    command += ["--processes_count", os.cpu_count(), "--thread_count", 32, "--image_size", 256, "--resize_mode", "keep_ratio"]
    command += ["--encode_quality", 95, "--number_sample_per_shard", max(1, len(urls) // (2 * os.cpu_count())), "--enable_wandb", "False"]
    seconds, cpu, peak = timed([str(part) for part in command], log)
    stored = sum(json.loads(file.read_text())["successes"] for file in (folder / "theirs").glob("*_stats.json"))
    if stored != len(urls):
        sys.exit(f"img2dataset stored {stored} of {len(urls)}, see {log.name}")
    return seconds, cpu, peak


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binary", help="lcl-ingest, built with --release")
    parser.add_argument("--img2dataset", default=str(pathlib.Path(sys.executable).with_name("img2dataset")))
    parser.add_argument("--size", default="1024x768")
    parser.add_argument("--images", type=int, default=2000)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    width, height = map(int, arguments.size.split("x"))
    bodies = [photograph(seed, width, height) for seed in range(DISTINCT)]
    kib = statistics.mean(map(len, bodies)) / 1024
    port = multiprocessing.Value("i", 0)
    server = multiprocessing.Process(target=serve, args=(bodies, port), daemon=True)
    server.start()
    while port.value == 0:
        time.sleep(0.01)
    urls = [f"http://127.0.0.1:{port.value}/photo/{number}" for number in range(arguments.images)]
    measured = {"lcl-ingest": [], "img2dataset": []}
    for round_number in range(arguments.rounds):
        for name, run in (("lcl-ingest", ours), ("img2dataset", theirs)):
            folder = pathlib.Path(tempfile.mkdtemp(prefix="versus_"))
            with (folder / "log").open("w") as log:
                measured[name].append(run(arguments, urls, folder, log))
            if name == "lcl-ingest":
                check_ours(folder, len(urls))
            shutil.rmtree(folder)
    print(f"{arguments.images} images of {width}x{height}, {kib:.0f} KiB each, {os.cpu_count()} cores, medians of {arguments.rounds}")
    print(f"{'':12} {'images/s':>9} {'CPU ms/image':>13} {'peak memory':>12}")
    medians = {}
    for name, rounds in measured.items():
        seconds, cpu, peak = (statistics.median(column) for column in zip(*rounds))
        medians[name] = (arguments.images / seconds, 1000 * cpu / arguments.images)
        rates = " ".join(f"{arguments.images / each[0]:.0f}" for each in rounds)
        print(f"{name:12} {medians[name][0]:9.0f} {medians[name][1]:13.2f} {peak / 1e6:9.0f} MB   rounds {rates}")
    ratio = medians["lcl-ingest"][0] / medians["img2dataset"][0]
    cpu = medians["img2dataset"][1] / medians["lcl-ingest"][1]
    print(f"{ratio:.2f} x the images a second, {cpu:.2f} x less CPU an image")
    server.terminate()


def check_ours(folder, images):
    commits = (folder / "ours" / "_commits").glob("*.json")
    stored = sum(json.loads(file.read_text())["images"].get("stored", 0) for file in commits)
    if stored != images:
        sys.exit(f"lcl-ingest stored {stored} of {images}, see {folder}/log")


if __name__ == "__main__":
    main()
