"""What the scripts beside this one share: others' code, and a node to hold against it."""

import argparse
import base64
import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.request
import venv

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
REGISTER = "till-1"


def arguments(purpose, place):
    parser = argparse.ArgumentParser(description=purpose.splitlines()[0])
    parser.add_argument("--program", type=pathlib.Path, help="tallystick [target/release/, else target/debug/]")
    parser.add_argument("--venv", type=pathlib.Path, default=ROOT / "target" / place)
    return parser.parse_args()


def enter(place, packages, *options):
    """Goes on in a virtual environment with the packages."""
    python = place / "bin/python"
    if pathlib.Path(sys.prefix) == place.resolve():
        return
    if not python.exists():
        venv.create(place, with_pip=True)
    found = subprocess.run([python, "-m", "pip", "freeze"], capture_output=True, text=True).stdout.split()
    if not set(packages) <= set(found):
        subprocess.run([python, "-m", "pip", "install", "--quiet", *options, *packages], check=True)
    os.execv(python, [python, *sys.argv])


def program(named):
    built = [named] if named else [ROOT / "target" / profile / "tallystick" for profile in ("release", "debug")]
    for path in built:
        if path.exists():
            return path
    sys.exit("build the program first: cargo build --release")


def unpadded(text):
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


class Node:
    """A node in `place`, served as long as a block with it lasts."""

    def __init__(self, path, place, name="node", *options):
        self.directory, self.log, self.calls = place / name, place / f"{name}.log", 0
        command = [path, "init", self.directory, *options, "--json"]
        made = subprocess.run(command, check=True, capture_output=True, text=True)
        self.made = json.loads(made.stdout)
        self.command = [path, "serve", self.directory, "--listen", "127.0.0.1:0"]

    def configure(self, *lines):
        with (self.directory / "config.toml").open("a") as config:
            config.writelines(line + "\n" for line in lines)

    def __enter__(self):
        with self.log.open("w") as log:
            self.process = subprocess.Popen(self.command, stderr=log)
        while self.process.poll() is None:
            if found := re.search(r"listening on (\S+)", self.log.read_text()):
                self.url = found.group(1)
                return self
            time.sleep(0.05)
        sys.exit(f"the node ended: {self.log.read_text()}")

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait()

    def get(self, path, accept="application/json"):
        request = urllib.request.Request(self.url + path, headers={"Accept": accept})
        request.add_header("Authorization", f"Bearer {self.made['office_key']}")
        with urllib.request.urlopen(request) as answer:
            return answer.read()

    def post(self, path, body):
        self.calls += 1
        request = urllib.request.Request(self.url + path, json.dumps(body).encode())
        request.add_header("Authorization", f"Bearer {self.made['office_key']}")
        request.add_header("Content-Type", "application/json")
        request.add_header("Idempotency-Key", f"call-{self.calls}")
        with urllib.request.urlopen(request) as answer:
            return json.load(answer)

    def sell(self, number, query=""):
        return self.post(f"/v1/receipts{query}", {
            "register": REGISTER, "till_reference": str(number), "type": "sale", "currency": "EUR",
            "prices_include_tax": True, "taxes": [], "total": 100,
            "lines": [{"description": "Bread", "quantity": "1", "total": 100}],
            "tenders": [{"kind": "cash", "amount": 100}],
        })


def refused(what, check, *given):
    """`check` has to refuse what it is given."""
    try:
        check(*given)
    except Exception:
        return
    sys.exit(f"{what} with a bit changed was taken")


def flipped(data, at=None):
    at = len(data) // 2 if at is None else at
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1:]
