"""Fits a sphere to silhouettes in a window: ``python preview_worker.py FOLDER`` saves a checkpoint there when stopped,
and tells in status.json how things are.
"""

from __future__ import annotations

import json
import sys
import threading
import time
from pathlib import Path

from tirender.fit import Checkpoint, Every, FitRun, Preview, SilhouetteConfig, fit_silhouettes, render_views
from tirender.renderer import TexturesVertex
from tirender.utils import ico_sphere


def main(folder: Path) -> None:
    target = ico_sphere(1)
    target.textures = TexturesVertex(target.verts_padded() / 2 + 0.5)
    preview = Preview(title="sphere", size=(480, 640))
    runs: list[FitRun] = []

    def watch() -> None:
        while True:
            if runs:
                (folder / "new.json").write_text(json.dumps({"step": runs[-1].step, "paused": preview.paused}))
                (folder / "new.json").replace(folder / "status.json")
            time.sleep(0.05)

    threading.Thread(target=watch, daemon=True).start()
    config = SilhouetteConfig(steps=10**6, level=1, progress=False)
    callbacks = [Every(10**6, runs.append), Checkpoint(folder / "checkpoint.pt", n=10**6), preview]
    run = fit_silhouettes(render_views(target, 2, 32), config=config, callbacks=callbacks)
    print(run.step)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
