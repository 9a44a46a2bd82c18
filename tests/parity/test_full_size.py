"""Full-size rows, real names and shapes with random weights: fetched from the stand-in Hub, loaded, compared.

The weights are nobody's; what is shown is that a published file of these names and shapes would be downloaded,
checked, loaded and computed with as open_clip and transformers do. A process of its own, because the Hub client
reads HF_ENDPOINT when it is imported, and so that gigabytes go away with it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from core.checkpoints import registry
from tests import standin_hub

ROOT = Path(__file__).resolve().parents[2]
PHOTO = ROOT / "assets" / "examples" / "photos" / "two_dogs.jpg"

OPEN_CLIP = """
import sys, numpy as np, open_clip, torch
from PIL import Image
from core import checkpoints, inputs
from core.clip import ZeroShot
name, photo = sys.argv[1:]
row = checkpoints.row(name)
path = next(iter(checkpoints.open(name).values()))
image, labels = inputs.image(photo), ["a dog", "a red vest", "two dogs at the feet of people, outdoors"]
result = ZeroShot.load(name, "cpu").classify(image, labels, "photo")

model = open_clip.create_model(row.options["model"], pretrained=str(path)).eval()
transform = open_clip.image_transform(
    model.visual.image_size, is_train=False, mean=tuple(row.options["mean"]), std=tuple(row.options["std"]),
    interpolation=row.options["interpolation"], resize_mode=row.options["resize_mode"],
)
with torch.inference_mode():
    image_features = model.encode_image(transform(image)[None], normalize=True)[0].numpy()
    tokens = open_clip.get_tokenizer(row.options["model"])([f"a photo of a {label}." for label in labels])
    text_features = model.encode_text(tokens, normalize=True).numpy()
    scale = float(model.logit_scale.exp())
np.testing.assert_allclose(result.image_features, image_features, atol=1e-5)
np.testing.assert_allclose(result.text_features, text_features, atol=1e-5)
logits = scale * text_features @ image_features
np.testing.assert_allclose(result.probabilities, np.exp(logits) / np.exp(logits).sum(), atol=1e-4)
"""

CHINESE_CLIP = """
import sys, numpy as np, torch
import torch.nn.functional as F
from transformers import BertTokenizerFast, ChineseCLIPImageProcessor, ChineseCLIPModel
from core import checkpoints, inputs
from core.clip import ZeroShot
name, photo = sys.argv[1:]
folder = checkpoints.open(name)["config.json"].parent
image, labels = inputs.image(photo), ["狗", "两只穿着背心的狗，在人们脚边。", "站立的羊"]
result = ZeroShot.load(name, "cpu").classify(image, labels)

model = ChineseCLIPModel.from_pretrained(folder, local_files_only=True).eval()
pixels = ChineseCLIPImageProcessor.from_pretrained(folder)(images=image, return_tensors="pt")
tokens = BertTokenizerFast.from_pretrained(folder)(labels, padding=True, return_tensors="pt")
with torch.inference_mode():
    image_features = F.normalize(model.get_image_features(**pixels).pooler_output, dim=-1)[0].numpy()
    text_features = F.normalize(model.get_text_features(**tokens).pooler_output, dim=-1).numpy()
np.testing.assert_allclose(result.image_features, image_features, atol=1e-5)
np.testing.assert_allclose(result.text_features, text_features, atol=1e-5)
"""

SIGLIP = """
import sys, numpy as np, torch
from transformers import Siglip2Tokenizer, SiglipImageProcessor, SiglipModel
from core import checkpoints, inputs
from core.clip import ZeroShot
name, photo = sys.argv[1:]
folder = checkpoints.open(name)["config.json"].parent
image, labels = inputs.image(photo), ["a DOG", "躺着的羊", "two dogs at the feet of people, outdoors"]
result = ZeroShot.load(name, "cpu").classify(image, labels)

model = SiglipModel.from_pretrained(folder, local_files_only=True).eval()
pixels = SiglipImageProcessor.from_pretrained(folder)(images=image, return_tensors="pt")["pixel_values"]
tokens = Siglip2Tokenizer.from_pretrained(folder)(
    labels, padding="max_length", max_length=64, padding_side="right", return_tensors="pt"
)["input_ids"]
with torch.inference_mode():
    output = model(input_ids=tokens, pixel_values=pixels)
np.testing.assert_allclose(result.image_features, output.image_embeds[0].numpy(), atol=1e-5)
np.testing.assert_allclose(result.text_features, output.text_embeds.numpy(), atol=1e-5)
expected = torch.sigmoid(output.logits_per_image[0]).numpy()
np.testing.assert_allclose(result.probabilities, expected, rtol=1e-3)
"""

# The command line of the same process, on the loaded model: what it prints is the answer and nothing else.
COMMAND = """
from core.__main__ import main
sys.argv = ["core", "classify", photo, "--labels", "dog, cat，羊", "--checkpoint", name, "--json"]
sys.exit(main())
"""


def environment(root: Path, name: str) -> tuple[dict[str, str], Path]:
    """Writes a row's repository and registry; the environment of a process that sees only those."""
    made = standin_hub.make_repo(registry.row(name), root / "repos")
    path = root / "registry.toml"
    path.write_text(standin_hub.registry_text({name: made}), encoding="utf-8")
    variables = {
        **os.environ,
        "HF_HOME": str(root / "home"),
        "CLIP_ATLAS_REGISTRY": str(path),
        "CLIP_ATLAS_DEVICE": "cpu",
        "PYTHONPATH": str(ROOT),
    }
    variables.pop("HF_HUB_OFFLINE", None)
    variables.pop("HF_HUB_CACHE", None)
    return variables, root / "repos"


def run(arguments: list[str], variables: dict[str, str]) -> str:
    """One Python process; what it printed, or its error as the test's failure."""
    done = subprocess.run(
        [sys.executable, *arguments], env=variables, cwd=ROOT, capture_output=True, text=True, timeout=300
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "program"),
    [
        ("clip-vit-b32", OPEN_CLIP),
        ("clip-rn50", OPEN_CLIP),
        ("mobileclip2-s0", OPEN_CLIP),
        ("chinese-clip-b16", CHINESE_CLIP),
        ("siglip2-b32", SIGLIP),
    ],
)
def test_a_full_size_row_from_the_hub_is_the_librarys_own(name: str, program: str, tmp_path: Path) -> None:
    variables, repos = environment(tmp_path, name)
    with standin_hub.serve(repos) as hub:
        variables["HF_ENDPOINT"] = hub.url
        run(["-m", "core.checkpoints", "fetch", name], variables)
    # The Hub is gone: everything from here on comes from the cache.
    answer = json.loads(run(["-c", program + COMMAND, name, str(PHOTO)], variables))
    assert answer["checkpoint"] == name
    assert sorted(row["label"] for row in answer["results"]) == ["cat", "dog", "羊"]
    total = sum(row["probability"] for row in answer["results"])
    # A sigmoid shares nothing out: with a bias of -10 and random weights every label is a no.
    softmax = registry.row(name).normalisation == "softmax"
    assert total == pytest.approx(1, abs=1e-5) if softmax else total < 0.9
