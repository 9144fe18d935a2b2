"""Packing loses what it says, and nothing else."""

from __future__ import annotations

import io
import json

import numpy as np
from PIL import Image

from spade_core.gallery.packing import LEVELS, NOTE, pack, unpack


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


def png(pixels):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def back(files):
    return unpack(pack(files))


def test_a_map_comes_back_within_half_a_step_of_its_top_and_cut_at_twice_it():
    values = np.random.default_rng(0).normal(size=(40, 50)).astype(np.float32)
    values[3, 4] = 1000.0
    top = np.percentile(np.abs(values), 99.5)
    found = np.load(io.BytesIO(back({"dense_saliency.npy": npy(values)})["dense_saliency.npy"]))
    assert found.dtype == np.float32
    assert np.abs(found - np.clip(values, -127 / LEVELS * top, 127 / LEVELS * top)).max() <= 0.51 * top / LEVELS
    assert found[3, 4] < 2.1 * top


def test_an_empty_map_and_a_mask_stay_as_they_are():
    mask = np.arange(12).reshape(3, 4) > 5
    found = back({"spade_lrp.npy": npy(np.zeros((3, 4), np.float32)), "mask.npy": npy(mask)})
    assert not np.load(io.BytesIO(found["spade_lrp.npy"])).any()
    assert (np.load(io.BytesIO(found["mask.npy"])) == mask).all()


def test_pictures_come_back_in_their_size_and_nearly_in_their_colours():
    ramp = np.tile(np.linspace(0, 255, 64, dtype=np.uint8)[:, None, None], (1, 64, 3))
    found = back({"crop.npy": npy(ramp), "dense.png": png(ramp)})
    crop = np.load(io.BytesIO(found["crop.npy"]))
    drawn = np.asarray(Image.open(io.BytesIO(found["dense.png"])))
    for pixels in (crop, drawn, np.asarray(Image.open(io.BytesIO(found["picture.png"])))):
        assert pixels.shape == ramp.shape
        assert np.abs(pixels.astype(int) - ramp).mean() < 3


def test_what_others_give_again_is_left_out_and_the_rest_is_kept():
    pixels = np.zeros((8, 8, 3), np.uint8)
    maps = io.BytesIO()
    np.savez(maps, **{"a.map": np.ones(3, np.uint8), "a.bits": np.ones(3, np.uint8)})
    given = {
        "dense_saliency.npy": npy(np.ones((8, 8), np.float32)),
        **dict.fromkeys(("dense_saliency.png", "figure.png"), png(pixels)),
        "trace.safetensors": b"large",
        "values.json": b'{"dense": [1, 2]}',
        "maps.npz": maps.getvalue(),
    }
    found = back(given)
    assert set(found) == {"dense_saliency.npy", "values.json", "maps.npz"}
    assert json.loads(found["values.json"]) == {"dense": [1, 2]}
    assert np.load(io.BytesIO(found["maps.npz"])).files == ["a.map"]


def test_the_manifest_stays_readable_and_says_that_it_is_a_case_of_the_gallery():
    manifest = json.dumps({"notes": ["one"], "images": {"dense": {"notes": []}}}, indent=2).encode()
    kept = pack({"manifest.json": manifest})
    assert json.loads(kept["manifest.json"]) == json.loads(manifest)
    found = json.loads(unpack(kept)["manifest.json"])
    assert found["notes"] == ["one", NOTE]
    assert found["images"]["dense"]["notes"] == [NOTE]
