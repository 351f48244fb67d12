"""A catalogue that goes from colour histograms to perceptual hashes and back."""

from __future__ import annotations

from shared.contracts import SearchResult
from shared.contracts.indexes import PromoteRequest, PruneRequest, ReprocessRequest, RollbackRequest
from tests.index_shop import IndexShop

OLD, NEW = "colour-histogram", "perceptual-hash"


class ReprocessShop(IndexShop):
    """Each method makes a job and returns its id."""

    def reprocess(self, **options: object) -> str:
        wanted = ReprocessRequest.model_validate({"embedder": NEW, **options})
        return self.indexes.reprocess("shop", wanted).id

    def promote(self, **options: object) -> str:
        return self.indexes.promote("shop", PromoteRequest.model_validate(options)).id

    def rollback(self, **options: object) -> str:
        return self.indexes.rollback("shop", RollbackRequest.model_validate(options)).id

    def prune(self, **options: object) -> str:
        return self.indexes.prune("shop", PruneRequest.model_validate(options)).id


def shown(result: SearchResult) -> tuple[str, list[tuple[str, float]]]:
    """The embedder that an answer names, and the products with their scores, rounded."""
    hits = [(hit.product_id, round(hit.score, 3)) for hit in result.whole.hits]
    return result.models["embedder"], sorted(hits)
