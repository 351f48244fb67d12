"""Model pipelines of a worker process: each index version is filled and searched with its own models."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable
from functools import lru_cache
from typing import get_args

from shared.database import Database
from shared.errors import Misconfigured, VitrineError
from shared.process.background import Periodic
from worker.indexes.versions import IndexVersion, all_written
from worker.vision.models import CropMode, embedding_space
from worker.vision.pipeline import Pipeline

log = logging.getLogger(__name__)

#: Detector, embedder, crop mode or None for the embedder's own.
Build = Callable[[str, str, CropMode | None], Pipeline]
_Key = tuple[str, str]

#: Time before missing weights are tried again.
_FAILED_S = 15.0
#: Interval in which the versions to load are read.
_POLL_INTERVAL_S = 2.0


class Pipelines:
    """Cache of pipelines: loads the models of an index version at first use, and evicts the least used.

    Thread-safe: while one thread loads a pipeline, others use those that are loaded.

    Args:
        default: the pipeline of the worker's settings, always loaded; a new catalogue starts with it.
        build: loads a pipeline by names of the registry, or by paths.
        keep: maximum number of pipelines in memory, the default not counted.
    """

    def __init__(self, default: Pipeline, build: Build, keep: int = 3) -> None:
        self.default = default
        self._build = build
        self._keep = keep
        self._lock = threading.Lock()
        self._loaded: OrderedDict[_Key, Pipeline] = OrderedDict()
        self._loading: dict[_Key, threading.Lock] = {}
        self._failed: dict[_Key, tuple[float, str]] = {}

    def of(self, version: IndexVersion) -> Pipeline:
        """Return the pipeline whose embeddings the version's collection holds.

        Raises:
            Misconfigured: its models are gone, or other weights have their names now.
        """
        if _fits(self.default, version):
            return self.default
        key = _key(version.detector, version.embedder)
        if (found := self._known(key)) is not None:
            return found
        with self._gate(key):
            if (found := self._known(key)) is not None:
                return found
            self._raise_if_failed(key)
            try:
                pipeline = self._load(version)
            except Misconfigured as error:
                with self._lock:
                    self._failed[key] = (time.monotonic() + _FAILED_S, error.message)
                raise
            self._keep_loaded(key, pipeline)
            return pipeline

    def named(self, detector_name: str, embedder_name: str, like: str | None = None) -> Pipeline:
        """Return the pipeline of two models as the registry has them today.

        Args:
            like: an embedder's version, whose crop mode is kept; None for the registry's.

        Raises:
            Misconfigured: there is no such model, or its file is another than registered.
        """
        pipeline = self._build(detector_name, embedder_name, None if like is None else crop_mode(like))
        key = _key(pipeline.detector.version, pipeline.embedder.version)
        if key == _key(self.default.detector.version, self.default.embedder.version):
            return self.default
        if (found := self._known(key)) is not None:
            return found
        self._keep_loaded(key, pipeline)
        return pipeline

    def load(self, versions: Iterable[IndexVersion]) -> None:
        """Load the pipelines of versions, as many as are kept, so that no search waits for it.

        Models that cannot be loaded are skipped; ``failures`` reports them.
        """
        wanted: dict[_Key, IndexVersion] = {}
        for version in versions:
            if not _fits(self.default, version):
                wanted.setdefault(_key(version.detector, version.embedder), version)
        for version in list(wanted.values())[: self._keep]:
            try:
                self.of(version)
            except VitrineError as error:
                log.warning("%s", error.message)

    def loaded(self) -> list[dict[str, str]]:
        """Return the versions of every pipeline in memory, the default first."""
        with self._lock:
            return [self.default.versions, *(p.versions for p in self._loaded.values())]

    def failures(self) -> dict[str, str]:
        """Return the reasons of recent loading failures, by the embedder's version."""
        with self._lock:
            return {embedder: message for (_, embedder), (_, message) in self._failed.items()}

    def fits(self, pipeline: Pipeline, version: IndexVersion) -> bool:
        """Return whether a pipeline's embeddings can be compared with the version's."""
        return _fits(pipeline, version)

    def serves(self, loaded: dict[str, str], version: IndexVersion) -> bool:
        """Return whether one of another process's ``loaded`` pipelines is the version's."""
        return _key(loaded["detector"], loaded["embedder"]) == _key(version.detector, version.embedder)

    def _known(self, key: _Key) -> Pipeline | None:
        with self._lock:
            if key in self._loaded:
                self._loaded.move_to_end(key)
            return self._loaded.get(key)

    def _gate(self, key: _Key) -> threading.Lock:
        """Return the lock under which one thread loads a pipeline while others wait for it."""
        with self._lock:
            return self._loading.setdefault(key, threading.Lock())

    def _raise_if_failed(self, key: _Key) -> None:
        with self._lock:
            until, message = self._failed.get(key, (0.0, ""))
            if time.monotonic() < until:
                raise Misconfigured(message)
            self._failed.pop(key, None)

    def _keep_loaded(self, key: _Key, pipeline: Pipeline) -> None:
        with self._lock:
            self._loaded[key] = pipeline
            while len(self._loaded) > self._keep:
                self._loaded.popitem(last=False)

    def _load(self, version: IndexVersion) -> Pipeline:
        detector = version.detector_name or registry_name(version.detector)
        embedder = version.embedder_name or registry_name(version.embedder)
        advice = (
            f"The index {version.collection} was filled with {version.detector} and {version.embedder}: give "
            "this worker those weights, or fill an index with other models (`vitrine reprocess`)."
        )
        try:
            pipeline = self._build(detector, embedder, crop_mode(version.embedder))
        except Misconfigured as error:
            raise Misconfigured(f"{advice} {error.message}") from error
        if not _fits(pipeline, version):
            found = f"{pipeline.detector.version} and {pipeline.embedder.version}"
            raise Misconfigured(f"{advice} Under these names it has {found}.")
        pipeline.warm_up()
        log.info("loaded %s and %s", pipeline.detector.version, pipeline.embedder.version)
        return pipeline


def keep_loaded(database: Database, pipelines: Pipelines) -> Periodic:
    """Load the pipelines of live, building and ready versions, now and periodically from a thread."""

    def load() -> None:
        with database.read() as session:
            versions = all_written(session)
        pipelines.load(versions)

    try:
        load()
    except VitrineError as error:
        log.info("index versions not read: %s", error.message)
    return Periodic("pipelines", _POLL_INTERVAL_S, load).start()


def crop_mode(embedder: str) -> CropMode | None:
    """Return the crop mode that an embedder's version string names, None if it names none."""
    mode = embedder.rpartition("+")[2] if "+" in embedder else ""
    return next((known for known in get_args(CropMode) if known == mode), None)


def weights_of(version: str) -> str:
    """Return name and hash of a model's version, without what the settings add to a detector's."""
    return version.split("+", 1)[0]


def registry_name(version: str) -> str:
    """Return the registry's name that a model's version string begins with."""
    return weights_of(version).rpartition("@")[0] or weights_of(version)


@lru_cache(maxsize=256)
def _key(detector: str, embedder: str) -> _Key:
    # The thresholds of a detector are the worker's settings, whatever they were when it was filled.
    # Precision changes an embedding less than products differ: one index serves all precisions.
    return weights_of(detector), embedding_space(embedder)


def _fits(pipeline: Pipeline, version: IndexVersion) -> bool:
    return _key(pipeline.detector.version, pipeline.embedder.version) == _key(
        version.detector, version.embedder
    )
