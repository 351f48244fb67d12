"""Each index version gets the models that filled it, once loaded for all, and a clear no where it cannot."""

from __future__ import annotations

import threading
from dataclasses import dataclass

import pytest

from shared.errors import Misconfigured
from worker.indexes.pipelines import Build, Pipelines, crop_mode, registry_name
from worker.indexes.versions import IndexVersion
from worker.vision.baselines import ColourHistogram, WholeImage
from worker.vision.models import CropMode
from worker.vision.pipeline import Pipeline


@dataclass(frozen=True)
class Named(ColourHistogram):
    """Colour histograms under a name, as the registry has several embedders."""

    version: str = "one@00000001+box"


def version(embedder: str, detector: str = "none", name: str = "", number: int = 1) -> IndexVersion:
    return IndexVersion(
        id=number, alias="a", collection=f"c{number}", detector=detector, embedder=embedder, dim=256,
        state="live", number=number, detector_name="none", embedder_name=name, beside=None,
        stale_since=None, beside_since=None, epoch=0,
    )  # fmt: skip


class Registry:
    """Builds pipelines, and notes which."""

    def __init__(self, **hashes: str) -> None:
        self.hashes = hashes
        self.built: list[tuple[str, CropMode | None]] = []

    def build(self, detector_name: str, embedder_name: str, crop: CropMode | None) -> Pipeline:
        self.built.append((embedder_name, crop))
        if embedder_name not in self.hashes:
            raise Misconfigured(f"There is no embedder named {embedder_name!r}.")
        found = f"{embedder_name}@{self.hashes[embedder_name]}+{crop or 'box'}"
        return Pipeline(WholeImage(), Named(found), batch=2, embedder_name=embedder_name)


def pipelines(build: Build, keep: int = 2) -> Pipelines:
    return Pipelines(Pipeline(WholeImage(), Named("default@00000000+box")), build, keep)


def test_the_settings_models_serve_what_they_filled_and_others_are_loaded_once() -> None:
    registry = Registry(other="11111111")
    found = pipelines(registry.build)
    assert found.of(version("default@00000000+box")) is found.default
    other = found.of(version("other@11111111+mask"))
    assert other.embedder.version == "other@11111111+mask"
    assert found.of(version("other@11111111+mask", number=2)) is other
    assert registry.built == [("other", "mask")], "the crop mode is the version's, not the registry's"
    assert [each["embedder"] for each in found.loaded()] == ["default@00000000+box", "other@11111111+mask"]


def test_thresholds_and_precision_are_the_workers_own() -> None:
    found = pipelines(Registry().build)
    assert found.of(version("default@00000000+int8+box", "none+confidence=0.4")) is found.default


def test_those_used_last_are_kept() -> None:
    registry = Registry(a="0000000a", b="0000000b", c="0000000c")
    found = pipelines(registry.build)
    a, b, c = (version(f"{name}@0000000{name}+box") for name in "abc")
    for each in (a, b, a, c, a):
        found.of(each)
    assert [name for name, _ in registry.built] == ["a", "b", "c"]
    found.of(b)
    assert [name for name, _ in registry.built] == ["a", "b", "c", "b"]


def test_other_weights_under_the_name_and_lost_ones_are_refused_with_what_to_do() -> None:
    registry = Registry(other="22222222")
    found = pipelines(registry.build)
    with pytest.raises(Misconfigured, match=r"was filled with .*other@11111111.*reprocess.*other@22222222"):
        found.of(version("other@11111111+box"))
    with pytest.raises(Misconfigured, match="There is no embedder named 'gone'"):
        found.of(version("gone@11111111+box"))
    tries = len(registry.built)
    with pytest.raises(Misconfigured):
        found.of(version("gone@11111111+box"))
    assert len(registry.built) == tries, "weights that are lost are not looked for at every search"
    assert set(found.failures()) == {"other@11111111+box", "gone@11111111+box"}


def test_many_that_want_the_same_load_it_once_and_others_do_not_wait() -> None:
    loading, may_end = threading.Event(), threading.Event()
    registry = Registry(slow="33333333")

    def slowly(detector_name: str, embedder_name: str, crop: CropMode | None) -> Pipeline:
        loading.set()
        may_end.wait(60)
        return registry.build(detector_name, embedder_name, crop)

    found = pipelines(slowly)
    threads = [
        threading.Thread(target=found.of, args=(version("slow@33333333+box"),), daemon=True) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    assert loading.wait(60)
    assert found.of(version("default@00000000+box")) is found.default, "while another one loads"
    may_end.set()
    for thread in threads:
        thread.join(60)
    assert len(registry.built) == 1


@pytest.mark.parametrize(
    ("text", "name", "mode"),
    [
        ("resnet@0123abcd+box", "resnet", "box"),
        ("resnet@0123abcd+int8+mask", "resnet", "mask"),
        ("lite@0123abcd+int8+lab4x6x6w0.2+both", "lite", "both"),
        ("colour-histogram", "colour-histogram", None),
        ("yolo@0123abcd+confidence=0.4", "yolo", None),
    ],
)
def test_what_a_version_string_tells(text: str, name: str, mode: str | None) -> None:
    assert (registry_name(text), crop_mode(text)) == (name, mode)
