"""The Khronos Group's glTF validator, where node and the npm package ``gltf-validator`` are installed.

``.ci/run`` installs the package into the virtual environment: ``npm install --prefix .venv gltf-validator``.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SCRIPT = """
const fs = require('fs'), path = require('path'), validator = require('gltf-validator');
const load = file => validator.validateBytes(new Uint8Array(fs.readFileSync(file)), {
  externalResourceFunction: uri => Promise.resolve(new Uint8Array(fs.readFileSync(path.join(path.dirname(file), uri)))),
});
Promise.all(process.argv.slice(1).map(load)).then(reports => console.log(JSON.stringify(reports)));
"""


def reports_on(*files: Path) -> list[dict[str, Any]]:
    """What the validator says of files; skips where it is not installed."""
    node = shutil.which("node")
    modules = Path(sys.prefix) / "node_modules"
    if node is None or not (modules / "gltf-validator").is_dir():
        pytest.skip("glTF files: the Khronos validator is not installed (npm install --prefix .venv gltf-validator)")
    environment = {**os.environ, "NODE_PATH": str(modules)}
    command = [node, "-e", SCRIPT, *map(str, files)]
    result = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=120)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)  # type: ignore[no-any-return]


def assert_valid(*files: Path) -> None:
    """No errors and no warnings."""
    for file, report in zip(files, reports_on(*files), strict=True):
        issues = report["issues"]
        bad = [message for message in issues["messages"] if message["severity"] < 2]
        assert (issues["numErrors"], issues["numWarnings"]) == (0, 0), f"{file}: {bad[:5]}"
